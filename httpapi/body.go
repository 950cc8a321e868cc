package httpapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"carillon/engine"
)

// maxBody bounds a request's body.
const maxBody = 1 << 20

// byteOrderMark is what some editors and languages put before UTF-8.
const byteOrderMark = "\ufeff"

// A decoder takes the fields that a call knows from a whole body. Others are an error.
type decoder func(body []byte, known []string) (*fields, error)

// readFields reads the body of a POST, which must have one of the three types.
// What must be refused for its headers is not read, but for a look at what it is.
func (c *call) readFields(known []string) (*fields, error) {
	r := c.r
	decode, media, err := decoderFor(r.Header.Get("Content-Type"))
	if err != nil {
		if err == errType {
			err = c.mistyped()
		}
		return nil, err
	}
	for _, coding := range r.Header.Values("Content-Encoding") {
		if !strings.EqualFold(strings.TrimSpace(coding), "identity") {
			return nil, unsupported("Content-Encoding", "want identity", [2]string{"Accept-Encoding", "identity"})
		}
	}
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	f, err := decode(body, known)
	if err == nil {
		return f, nil
	}
	if other := looksLike(body); other != "" && other != media {
		return nil, looksOtherwise(other)
	}
	return nil, err
}

// readBody returns the body without a byte order mark.
func (c *call) readBody() ([]byte, error) {
	if c.r.ContentLength > maxBody {
		return nil, bodyTooLarge()
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, bodyTooLarge()
	} else if err != nil {
		return nil, badField("body", "a body as long as its headers say, in time")
	}
	c.bodyRead = true
	if len(body) >= len(byteOrderMark) && string(body[:len(byteOrderMark)]) == byteOrderMark {
		body = body[len(byteOrderMark):]
	}
	return body, nil
}

// mistyped is the answer to a request of another type, or of none. If the body is on its
// way anyway, and not long, it says which type that would have.
func (c *call) mistyped() error {
	if n := c.r.ContentLength; n <= 0 || n > maxBody || c.r.Header.Get("Expect") != "" {
		return errType
	}
	if body, err := c.readBody(); err == nil {
		if media := looksLike(body); media != "" {
			return looksOtherwise(media)
		}
	}
	return errType
}

// The types of bodies.
const (
	mediaJSON      = "application/json"
	mediaForm      = "application/x-www-form-urlencoded"
	mediaMultipart = "multipart/form-data"
)

// looksLike guesses the type of a body that is not what its Content-Type says, empty if
// it may be anything.
func looksLike(body []byte) (media string) {
	text := strings.TrimLeft(string(body[:min(len(body), 512)]), jsonSpace)
	name, _, assigned := strings.Cut(text, "=")
	switch {
	case strings.HasPrefix(text, "{"), strings.HasPrefix(text, "["):
		return mediaJSON
	case strings.HasPrefix(text, "--"):
		return mediaMultipart
	case assigned && name != "" && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789_[]%") == "":
		return mediaForm
	}
	return ""
}

func looksOtherwise(media string) *problem {
	is := map[string]string{mediaJSON: "JSON", mediaForm: "a URL-encoded form", mediaMultipart: "a multipart form"}[media]
	if media == mediaMultipart {
		media += " with its boundary"
	}
	return unsupported("Content-Type", "the body looks like "+is+": want Content-Type: "+media, [2]string{})
}

func unsupported(field, detail string, header [2]string) *problem {
	return &problem{
		status: http.StatusUnsupportedMediaType, code: engine.CodeBadParameter,
		field: field, detail: detail, header: header,
	}
}

func bodyTooLarge() *problem {
	return &problem{
		status: http.StatusRequestEntityTooLarge, code: engine.CodeBadParameter,
		field: "body", detail: "want at most 1 MiB",
	}
}

var errType error = unsupported("Content-Type", "want "+mediaJSON+", "+mediaForm+" or "+mediaMultipart, [2]string{})

// decoderFor chooses by the Content-Type header, and returns the type, too.
func decoderFor(contentType string) (decode decoder, media string, err error) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, "", errType
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return nil, "", unsupported("Content-Type", "want no charset but utf-8", [2]string{})
	}
	switch media {
	case mediaJSON:
		return decodeJSON, media, nil
	case mediaForm:
		return func(body []byte, known []string) (*fields, error) { return decodeForm("body", string(body), known) }, media, nil
	case mediaMultipart:
		boundary := params["boundary"]
		if boundary == "" {
			return nil, "", badField("Content-Type", "a boundary")
		}
		return func(body []byte, known []string) (*fields, error) { return decodeMultipart(body, boundary, known) }, media, nil
	}
	return nil, "", errType
}
