package httpapi

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"carillon/engine"
)

// maxBody bounds a request's body.
const maxBody = 1 << 20

// A decoder takes the fields from a whole body.
type decoder func(body []byte) (*fields, error)

// readFields reads the body of a POST, which must have one of the three types.
// What must be refused for its headers is not read.
func (c *call) readFields() (*fields, error) {
	r := c.r
	decode, err := decoderFor(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	for _, coding := range r.Header.Values("Content-Encoding") {
		if !strings.EqualFold(strings.TrimSpace(coding), "identity") {
			return nil, unsupported("Content-Encoding", "identity", [2]string{"Accept-Encoding", "identity"})
		}
	}
	if r.ContentLength > maxBody {
		return nil, bodyTooLarge()
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, bodyTooLarge()
	} else if err != nil {
		return nil, badField("body", "a body as long as its headers say, in time")
	}
	c.bodyRead = true
	return decode(body)
}

func unsupported(field, want string, header [2]string) *problem {
	return &problem{
		status: http.StatusUnsupportedMediaType, code: engine.CodeBadParameter,
		field: field, detail: "want " + want, header: header,
	}
}

func bodyTooLarge() *problem {
	return &problem{
		status: http.StatusRequestEntityTooLarge, code: engine.CodeBadParameter,
		field: "body", detail: "want at most 1 MiB",
	}
}

// decoderFor chooses by the Content-Type header.
func decoderFor(contentType string) (decoder, error) {
	const want = "application/json, application/x-www-form-urlencoded or multipart/form-data"
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, unsupported("Content-Type", want, [2]string{})
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return nil, unsupported("Content-Type", "no charset but utf-8", [2]string{})
	}
	switch media {
	case "application/json":
		return decodeJSON, nil
	case "application/x-www-form-urlencoded":
		return func(body []byte) (*fields, error) { return decodeForm("body", string(body)) }, nil
	case "multipart/form-data":
		boundary := params["boundary"]
		if boundary == "" {
			return nil, badField("Content-Type", "a boundary")
		}
		return func(body []byte) (*fields, error) { return decodeMultipart(body, boundary) }, nil
	}
	return nil, unsupported("Content-Type", want, [2]string{})
}

// decodeForm is for a body and for a query, which is what errors call it.
func decodeForm(what, text string) (*fields, error) {
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, badField(what, "at most 10000 URL-encoded fields")
	}
	return &fields{values: values}, nil
}

// decodeMultipart keeps everything in memory: the body is there already.
func decodeMultipart(body []byte, boundary string) (*fields, error) {
	f := &fields{values: map[string][]string{}}
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			return f, nil
		}
		malformed := badField("body", "a complete multipart form whose parts have names")
		if err != nil || part.FormName() == "" {
			return nil, malformed
		}
		name := part.FormName()
		if part.FileName() != "" {
			return nil, badField(strings.ToValidUTF8(name, "?"), "a value, not a file")
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, malformed
		}
		f.values[name] = append(f.values[name], string(value))
	}
}
