//go:build !linux

package machine

import "runtime"

func describe() (model, kernel string, memory int64) { return runtime.GOARCH, runtime.GOOS, 0 }
