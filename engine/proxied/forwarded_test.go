package proxied

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

var proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("fe80::/10")}

const none = "invalid AddrPort"

func client(forwardedFor, forwarded []string) string {
	return Client(slices.Values(forwardedFor), slices.Values(forwarded), proxies).String()
}

func TestForwardedFor(t *testing.T) {
	many := strings.Repeat("10.1.1.1, ", MaxHops-1) + "10.2.2.2"
	tests := []struct {
		lines []string
		want  string
	}{
		{nil, none},
		{[]string{"192.0.2.1"}, "192.0.2.1:0"},
		{[]string{"192.0.2.1:99"}, "192.0.2.1:99"},
		{[]string{"2001:db8::1"}, "[2001:db8::1]:0"},
		{[]string{"[2001:db8::1]"}, "[2001:db8::1]:0"},
		{[]string{"[2001:db8::1]:99"}, "[2001:db8::1]:99"},
		{[]string{"::ffff:192.0.2.1"}, "192.0.2.1:0"},
		{[]string{"[::ffff:192.0.2.1]:99"}, "192.0.2.1:99"},
		{[]string{"2001:db8::1%eth0"}, "[2001:db8::1]:0"},
		{[]string{"1.1.1.1, 192.0.2.1"}, "192.0.2.1:0"},
		{[]string{"1.1.1.1,192.0.2.1,\t10.1.2.3 , [fd00::1]"}, "192.0.2.1:0"},
		{[]string{"1.1.1.1", "192.0.2.1", "10.1.2.3"}, "192.0.2.1:0"},
		{[]string{"192.0.2.1, ::ffff:10.1.2.3, fe80::1%eth0"}, "192.0.2.1:0"}, // both are trusted
		{[]string{"nonsense, 192.0.2.1"}, "192.0.2.1:0"},                      // who wrote that does not matter

		// All are proxies: the first.
		{[]string{"10.1.2.3"}, "10.1.2.3:0"},
		{[]string{"10.1.2.3:5, 10.1.2.4"}, "10.1.2.3:5"},
		{[]string{"10.1.2.3", "10.1.2.4"}, "10.1.2.3:0"},

		// Empty elements are none.
		{[]string{""}, none},
		{[]string{" , ,\t,"}, none},
		{[]string{"192.0.2.1,"}, "192.0.2.1:0"},
		{[]string{",192.0.2.1,, ,10.1.2.3, "}, "192.0.2.1:0"},
		{[]string{"192.0.2.1", "", " "}, "192.0.2.1:0"},
		{[]string{"", "10.1.2.3"}, "10.1.2.3:0"},

		// No address: the one behind it.
		{[]string{"unknown"}, none},
		{[]string{"192.0.2.1, unknown"}, none},
		{[]string{"192.0.2.1", "unknown"}, none},
		{[]string{"192.0.2.1, unknown, 10.1.2.3"}, "10.1.2.3:0"},
		{[]string{"192.0.2.1, unix:, 10.1.2.3, 10.1.2.4"}, "10.1.2.3:0"},
		{[]string{"192.0.2.1, undefined", "10.1.2.3"}, "10.1.2.3:0"},
		{[]string{"_hidden, 10.1.2.3"}, "10.1.2.3:0"},
		{[]string{"192.0.2.1:65536, 10.1.2.3"}, "10.1.2.3:0"},
		{[]string{"192.0.2.1:, 10.1.2.3"}, "10.1.2.3:0"},
		{[]string{"192.0.2.1:http, 10.1.2.3"}, "10.1.2.3:0"},
		{[]string{"[192.0.2.1]:99, 10.1.2.3"}, "10.1.2.3:0"},
		{[]string{"[2001:db8::1, 10.1.2.3"}, "10.1.2.3:0"},
		{[]string{"[2001:db8::1]99, 10.1.2.3"}, "10.1.2.3:0"},
		{[]string{"[], 10.1.2.3"}, "10.1.2.3:0"},
		{[]string{"192.0.2.01, 10.1.2.3"}, "10.1.2.3:0"},
		{[]string{"localhost, 10.1.2.3"}, "10.1.2.3:0"},
		{[]string{"192.0.2.1 192.0.2.2, 10.1.2.3"}, "10.1.2.3:0"},
		{[]string{"\xff, 10.1.2.3"}, "10.1.2.3:0"},
		{[]string{`"192.0.2.1, 192.0.2.2`}, "192.0.2.2:0"},

		// So many hops, and no more.
		{[]string{"192.0.2.1, " + many[len("10.1.1.1, "):]}, "192.0.2.1:0"},
		{[]string{"192.0.2.1, " + many}, "10.1.1.1:0"},
		{[]string{"192.0.2.1, " + strings.Repeat(",", 10*MaxHops) + "10.1.2.3"}, "192.0.2.1:0"},
	}
	for _, tt := range tests {
		if got := client(tt.lines, nil); got != tt.want {
			t.Errorf("X-Forwarded-For %.80q: %v, want %s", tt.lines, got, tt.want)
		}
	}
}

func TestForwarded(t *testing.T) {
	tests := []struct {
		lines []string
		want  string
	}{
		{nil, none},
		{[]string{"for=192.0.2.1"}, "192.0.2.1:0"},
		{[]string{"For=192.0.2.1;proto=https;by=10.1.2.3"}, "192.0.2.1:0"},
		{[]string{`proto=http;by="[fd00::1]:80";FOR="192.0.2.1:4711"`}, "192.0.2.1:4711"},
		{[]string{`for="[2001:db8::1]:4711"`}, "[2001:db8::1]:4711"},
		{[]string{`for="[2001:db8::1]"`}, "[2001:db8::1]:0"},
		{[]string{`for="\[2001:db8::1\]:47\11"`}, "[2001:db8::1]:4711"},
		{[]string{`for="192.0.2.1:_gazonk"`}, "192.0.2.1:0"}, // the address is there
		{[]string{"for=192.0.2.1:4711"}, "192.0.2.1:4711"},   // not quoted, as many have it
		{[]string{"for=2001:db8::1"}, "[2001:db8::1]:0"},
		{[]string{"for=1.1.1.1, for=192.0.2.1, for=10.1.2.3"}, "192.0.2.1:0"},
		{[]string{"for=1.1.1.1,for=192.0.2.1", `for="10.1.2.3";host="a,for=1.1.1.1;for=2.2.2.2"`}, "192.0.2.1:0"},
		{[]string{" for = 192.0.2.1 ; proto = https "}, "192.0.2.1:0"},
		{[]string{`for=192.0.2.1;ext="a\"b, \\", for="10.1.2.3";ext="\\\""`}, "192.0.2.1:0"},

		{[]string{"for=10.1.2.3, for=10.1.2.4"}, "10.1.2.3:0"},
		{[]string{"", " ,, for=192.0.2.1 ,", ","}, "192.0.2.1:0"},

		{[]string{"for=unknown"}, none},
		{[]string{"for=192.0.2.1, for=unknown, for=10.1.2.3"}, "10.1.2.3:0"},
		{[]string{`for=192.0.2.1, for="_hidden", for=10.1.2.3`}, "10.1.2.3:0"},
		{[]string{`for=192.0.2.1, for="_hidden:99", for=10.1.2.3`}, "10.1.2.3:0"},
		{[]string{`for=192.0.2.1, for="unknown:99", for=10.1.2.3`}, "10.1.2.3:0"},
		{[]string{"for=192.0.2.1, proto=https, for=10.1.2.3"}, "10.1.2.3:0"},
		{[]string{"for=192.0.2.1, for, for=10.1.2.3"}, "10.1.2.3:0"},
		{[]string{"for=192.0.2.1, for=, for=10.1.2.3"}, "10.1.2.3:0"},
		{[]string{`for=192.0.2.1, for="", for=10.1.2.3`}, "10.1.2.3:0"},
		{[]string{"for=192.0.2.1;for=192.0.2.2, for=10.1.2.3"}, "10.1.2.3:0"},
		{[]string{"192.0.2.1, for=10.1.2.3"}, "10.1.2.3:0"},
		{[]string{"for=192.0.2.1\", for=10.1.2.3"}, "10.1.2.3:0"},

		// What a client sends does not hide what a proxy puts behind it.
		{[]string{`for="1.1.1.1, for=192.0.2.1`}, "192.0.2.1:0"},
		{[]string{`for="1.1.1.1, for="[2001:db8::1]"`}, "[2001:db8::1]:0"},
		{[]string{`for="1.1.1.1\, for="[2001:db8::1]:4711";proto=https`}, "[2001:db8::1]:4711"},
		{[]string{`for="1.1.1.1`, `for=192.0.2.1`}, "192.0.2.1:0"},
		{[]string{`\", for=192.0.2.1`}, "192.0.2.1:0"},
	}
	for _, tt := range tests {
		if got := client(nil, tt.lines); got != tt.want {
			t.Errorf("Forwarded %q: %v, want %s", tt.lines, got, tt.want)
		}
	}
}

func TestBothAreThere(t *testing.T) {
	for _, tt := range []struct{ forwardedFor, forwarded, want string }{
		{"192.0.2.1", "for=192.0.2.2", "192.0.2.1:0"},
		{"unknown", "for=192.0.2.2", none},
		{"10.1.2.3", "for=192.0.2.2", "10.1.2.3:0"},
		{" ,", "for=192.0.2.2", "192.0.2.2:0"},
	} {
		if got := client([]string{tt.forwardedFor}, []string{tt.forwarded}); got != tt.want {
			t.Errorf("X-Forwarded-For %q, Forwarded %q: %s, want %s", tt.forwardedFor, tt.forwarded, got, tt.want)
		}
	}
}

func TestNetwork(t *testing.T) {
	for in, want := range map[string]string{
		"10.1.2.3/8": "10.0.0.0/8", "::ffff:10.1.2.3/104": "10.0.0.0/8", "::ffff:10.1.2.3/128": "10.1.2.3/32",
		"2001:db8::1/32": "2001:db8::/32", "::/0": "::/0",
	} {
		if got := Network(netip.MustParsePrefix(in)).String(); got != want {
			t.Errorf("Network(%s) = %s, want %s", in, got, want)
		}
	}
}

// Whatever a client sends, the hop that a proxy puts behind it is found, in the same
// line or in another one.
func FuzzForwarded(f *testing.F) {
	f.Add(`for="1.1.1.1, for=unknown;by="\"`, "")
	f.Add(`for=192.0.2.9, for="[2001:db8::9]:1"`, `proto=https;ext="a,\",;b\\"`)
	f.Add(`\`, `x="`)
	f.Fuzz(func(t *testing.T, sent, other string) {
		if got := client([]string{other}, []string{sent}); got != none && !strings.ContainsAny(got, ".:") {
			t.Fatalf("%q, %q: %s", other, sent, got)
		}
		for _, hop := range []string{"192.0.2.1", `"[2001:db8::1]:4711"`} {
			want, _ := parseNode(unquote(hop))
			for _, lines := range [][]string{{sent + ",for=" + hop}, {sent, "proto=https; for=" + hop}, {sent + ", for=" + hop + `;by="a,b";ext="\\\""`, "for=10.1.2.3,"}} {
				if got := client(nil, lines); got != want.String() {
					t.Fatalf("Forwarded %q: %s, want %s", lines, got, want)
				}
			}
			for _, lines := range [][]string{{sent + "," + unquote(hop)}, {sent, unquote(hop)}, {sent + ", " + unquote(hop), "10.1.2.3"}} {
				if got := client(lines, []string{other}); got != want.String() {
					t.Fatalf("X-Forwarded-For %q: %s, want %s", lines, got, want)
				}
			}
		}
	})
}
