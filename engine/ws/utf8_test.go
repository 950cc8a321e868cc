package ws

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestUTF8EveryCharacter tries every value of one to four bytes that begins like
// a character, against unicode/utf8: all that is valid and all that nearly is.
func TestUTF8EveryCharacter(t *testing.T) {
	check := func(b []byte) {
		if got, want := utf8Start.next(b) == utf8Start, utf8.Valid(b); got != want {
			t.Fatalf("% x: %v, want %v", b, got, want)
		}
	}
	edges := []int{0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xFF}
	for a := range 256 {
		check([]byte{byte(a)})
		for b := range 256 {
			check([]byte{byte(a), byte(b)})
			for _, c := range edges {
				check([]byte{byte(a), byte(b), byte(c)})
				for _, d := range edges {
					check([]byte{byte(a), byte(b), byte(c), byte(d)})
				}
			}
		}
	}
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if utf8.ValidRune(r) {
			check(utf8.AppendRune(nil, r))
		}
	}
}

// ASCII that is skipped by the word is still wrong inside a character.
func TestUTF8WordInsideCharacter(t *testing.T) {
	for n := range 40 {
		b := []byte(strings.Repeat("a", n) + "\xe4" + strings.Repeat("a", 40) + "\xb8\x96")
		if got := utf8Start.next(b); got != utf8Invalid {
			t.Errorf("%q: state %d", b, got)
		}
	}
}

// firstBad returns the offset of the first byte after which no text can be valid,
// or len(b), by unicode/utf8's judgement.
func firstBad(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r != utf8.RuneError || n > 1 {
			i += n
			continue
		}
		// A prefix of a character is one that some next bytes complete.
		for end := i + 1; end <= len(b) && end <= i+4; end++ {
			if !completable(b[i:end]) {
				return end - 1
			}
		}
		return len(b)
	}
	return len(b)
}

func completable(b []byte) bool {
	if utf8.Valid(b) {
		return true
	}
	if len(b) >= 4 {
		return false
	}
	for _, c := range []byte{0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF} {
		if completable(append(b[:len(b):len(b)], c)) {
			return true
		}
	}
	return false
}

// FuzzUTF8: any cut gives the verdict of unicode/utf8, at the first bad byte.
func FuzzUTF8(f *testing.F) {
	f.Add([]byte("κόσμε, 世界 and 🌍 and more ASCII than sixteen bytes"), 3)
	f.Add([]byte("\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64"), 12)
	f.Add([]byte("\xf4\x90\x80\x80"), 1)
	f.Add([]byte("0123456789abcde\xc0\xaf"), 15)
	f.Add([]byte("\xe0\x80\x80"), 2)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		cut = int(uint(cut) % uint(len(b)+1))
		state := utf8Start.next(b[:cut]).next(b[cut:])
		if got, want := state == utf8Start, utf8.Valid(b); got != want {
			t.Fatalf("%q cut at %d: valid %v, want %v", b, cut, got, want)
		}
		bad := firstBad(b)
		if utf8Start.next(b[:bad]) == utf8Invalid {
			t.Fatalf("%q: refused before byte %d", b, bad)
		}
		if bad < len(b) && utf8Start.next(b[:bad+1]) != utf8Invalid {
			t.Fatalf("%q: byte %d not refused", b, bad)
		}
	})
}

func BenchmarkUTF8(b *testing.B) {
	for _, text := range []struct{ name, s string }{
		{"ascii-125", strings.Repeat("The quick brown fox. ", 6)[:125]},
		{"ascii-4096", strings.Repeat("The quick brown fox. ", 200)[:4096]},
		{"chinese-4096", strings.Repeat("一个消息推送到所有客户端", 200)[:4095]},
		{"json-4096", strings.Repeat(`{"code":10009,"msg":"发送消息成功","data":"hello"},`, 100)[:4080]},
		{"emoji-4096", strings.Repeat("🌍🔔", 512)},
	} {
		p := []byte(text.s)
		b.Run(text.name+"/ws", func(b *testing.B) {
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				if utf8Start.next(p) == utf8Invalid {
					b.Fatal("invalid")
				}
			}
		})
		b.Run(text.name+"/unicode-utf8", func(b *testing.B) {
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				utf8.Valid(p)
			}
		})
	}
}
