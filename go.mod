module carillon

go 1.26.0

require (
	github.com/HdrHistogram/hdrhistogram-go v1.4.0
	github.com/coder/websocket v1.8.15
	github.com/lesismal/nbio v1.6.12
	github.com/rs/zerolog v1.35.1
	github.com/sony/sonyflake/v2 v2.2.0
	github.com/tidwall/btree v1.8.2
	github.com/valyala/fastjson v1.6.10
	golang.org/x/sys v0.49.0
)

require (
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/mattn/go-isatty v0.0.20 // indirect
)
