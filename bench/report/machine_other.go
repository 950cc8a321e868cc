//go:build !linux

package report

import "runtime"

func describeMachine() (model, kernel string, memory int64) { return runtime.GOARCH, runtime.GOOS, 0 }
