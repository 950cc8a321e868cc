package report

import (
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// What a browser makes of the page: a screenshot has the lines and bars in it, in
// the colours of the results.
func TestPageInBrowser(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		const require = "TEST_REQUIRES_TOOLS" // set where everything is installed
		if os.Getenv(require) != "" {
			t.Fatalf("chromium is not installed, and %s is set", require)
		}
		t.Skip("chromium is not installed: the test looks at the page with it")
	}
	dir, err := os.MkdirTemp("", "carillon-browser")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 100 { // until the last of the browser's processes is gone
			if os.RemoveAll(dir) == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	page, shot := filepath.Join(dir, "page.html"), filepath.Join(dir, "shot.png")
	a, b := sample("carillon", 1), sample("another", 2)
	if err := WriteHTML(page, []*Result{a, b}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
		"--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--user-data-dir="+filepath.Join(dir, "profile"), "--window-size=1300,1500", "--screenshot="+shot, "file://"+page)
	stop := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	out, err := cmd.CombinedOutput()
	stop.Stop()
	f, err2 := os.Open(shot)
	if err2 != nil {
		t.Fatalf("no screenshot: %v: %s", err, out)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	type colour struct{ r, g, b uint32 }
	count := map[colour]int{}
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			r, g, b, _ := img.At(x, y).RGBA()
			count[colour{r >> 8, g >> 8, b >> 8}]++
		}
	}
	// The bars alone have some thousand pixels, a line some hundred that nothing
	// has softened.
	for name, c := range map[string]colour{"first": {0x25, 0x63, 0xeb}, "second": {0xe8, 0x59, 0x0c}} {
		if count[c] < 5000 {
			t.Errorf("%d pixels have the colour of the %s result", count[c], name)
		}
	}
}
