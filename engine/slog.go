package engine

import (
	"context"
	"log/slog"

	"github.com/rs/zerolog"
	"github.com/valyala/fastjson"
)

// SlogLogger is a logger for Options.Logger that passes everything on to l, whose level
// decides, with the fields as attributes. It parses each line, of which there is one for
// an event that an operator wants to know of, and at debug level one for a client.
func SlogLogger(l *slog.Logger) *zerolog.Logger {
	level := zerolog.ErrorLevel
	for _, lower := range []zerolog.Level{zerolog.WarnLevel, zerolog.InfoLevel, zerolog.DebugLevel} {
		if l.Enabled(context.Background(), slogLevel(lower)) {
			level = lower
		}
	}
	log := zerolog.New(slogWriter{l}).Level(level)
	return &log
}

func slogLevel(l zerolog.Level) slog.Level {
	switch l {
	case zerolog.DebugLevel, zerolog.TraceLevel:
		return slog.LevelDebug
	case zerolog.WarnLevel:
		return slog.LevelWarn
	case zerolog.InfoLevel, zerolog.NoLevel:
		return slog.LevelInfo
	}
	return slog.LevelError
}

// A slogWriter takes what a zerolog.Logger writes.
type slogWriter struct{ l *slog.Logger }

// Write implements io.Writer.
func (w slogWriter) Write(line []byte) (int, error) { return w.WriteLevel(zerolog.NoLevel, line) }

// WriteLevel implements zerolog.LevelWriter.
func (w slogWriter) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	v, err := fastjson.ParseBytes(line)
	if err != nil {
		return 0, err
	}
	fields, err := v.Object()
	if err != nil {
		return 0, err
	}
	message := ""
	var attrs []slog.Attr
	fields.Visit(func(key []byte, v *fastjson.Value) {
		switch name := string(key); {
		case name == zerolog.LevelFieldName || name == zerolog.TimestampFieldName: // slog has its own
		case name == zerolog.MessageFieldName:
			message = string(v.GetStringBytes())
		case v.Type() == fastjson.TypeString:
			attrs = append(attrs, slog.String(name, string(v.GetStringBytes())))
		case v.Type() == fastjson.TypeNumber:
			attrs = append(attrs, slog.Float64(name, v.GetFloat64()))
		default:
			attrs = append(attrs, slog.String(name, v.String()))
		}
	})
	w.l.LogAttrs(context.Background(), slogLevel(level), message, attrs...)
	return len(line), nil
}
