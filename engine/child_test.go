package engine

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// A child is this test binary in a process of its own, playing a role: client and
// server together need more descriptors than one process may have, and what the
// server takes is to be told from what its clients take. Parent and child talk in
// lines of JSON. A child ends when its standard input does.
type child struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// A role is what a child does. It gets its arguments in spec. An error that it
// returns fails the parent's test.
type role func(spec []byte, parent *parent) error

// roles are added to by the init functions of the files that have one.
var roles = map[string]role{}

const (
	roleEnv = "CARILLON_TEST_ROLE"
	specEnv = "CARILLON_TEST_SPEC"
)

func startChild(t testing.TB, role string, spec any) *child {
	t.Helper()
	b, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"="+role, specEnv+"="+string(b))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{t, cmd, in, bufio.NewReader(out)}
	t.Cleanup(c.end)
	return c
}

// end has the child end, and waits for it.
func (c *child) end() {
	c.in.Close()
	c.cmd.Wait()
}

// tell sends the child a line.
func (c *child) tell(v any) {
	c.t.Helper()
	if err := json.NewEncoder(c.in).Encode(v); err != nil {
		c.t.Fatalf("child: %v", err)
	}
}

// hear reads a line of the child's into v.
func (c *child) hear(v any) {
	c.t.Helper()
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		c.t.Fatalf("child: %v", err)
	}
	var failed struct{ Failed string }
	if json.Unmarshal(line, &failed) == nil && failed.Failed != "" {
		c.t.Fatalf("child: %s", failed.Failed)
	}
	if err := json.Unmarshal(line, v); err != nil {
		c.t.Fatalf("child: %s: %v", line, err)
	}
}

// ask is tell, then hear.
func (c *child) ask(order, answer any) {
	c.t.Helper()
	c.tell(order)
	c.hear(answer)
}

// parent is the other end, in the child.
type parent struct {
	in  *json.Decoder
	out *json.Encoder
}

// say sends the parent a line. One goroutine at a time may.
func (p *parent) say(v any) error { return p.out.Encode(v) }

// hear reads a line of the parent's into v; io.EOF means that it is time to end.
func (p *parent) hear(v any) error { return p.in.Decode(v) }

// playRole is the child's main.
func playRole(name string) {
	p := &parent{json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)}
	play, ok := roles[name]
	err := fmt.Errorf("no role %q", name)
	if ok {
		err = play([]byte(os.Getenv(specEnv)), p)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		p.say(struct{ Failed string }{err.Error()})
		os.Exit(1)
	}
}
