package integration_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/seedtest"
)

// mostMemory is what a pull may take, in KiB.
const mostMemory = 200 << 10

// askedTable finds the table that a queryHistory asks for.
var askedTable = regexp.MustCompile(`<name>tables</name><value><array><data><value><string>(\w+)</string>`)

// flood answers some methods of a hub with something that has no end, or is very large.
type flood struct {
	method string // in the request
	gzip   bool
	begin  string
	again  func(i int) string // nil when it is enough
}

func (f flood) serve(w http.ResponseWriter, asked []byte) {
	write := func(s string) error { _, err := io.WriteString(w, s); return err }
	w.Header().Set("Content-Type", "text/xml")
	if f.gzip {
		w.Header().Set("Content-Encoding", "gzip")
		var last string // the same again, most often: to find that out takes less than to look it up by its text
		var stream []byte
		write = func(s string) error {
			if s != last {
				last, stream = s, packed(s)
			}
			_, err := w.Write(stream)
			return err
		}
	}
	begin := f.begin
	if m := askedTable.FindSubmatch(asked); m != nil {
		begin = strings.Replace(begin, "TABLE", string(m[1]), 1)
	}
	err := write(begin)
	for i := 0; err == nil; i++ {
		err = write(f.again(i))
	}
}

// packed is a text as a stream of gzip's, which others may follow. One that comes again and again is compressed once.
func packed(s string) []byte {
	if z, ok := packs.Load(s); ok {
		return z.([]byte)
	}
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	_, _ = io.WriteString(z, s) // a Buffer takes all
	_ = z.Close()
	if len(s) > 1<<20 {
		packs.Store(s, b.Bytes())
	}
	return b.Bytes()
}

var packs sync.Map // by text

// peakOf runs kojisnap and returns the most memory that it had, in KiB. Its rusage would tell the most
// that the test had, too: a process inherits that.
func peakOf(t *testing.T, args ...string) (o outcome, peak int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + os.TempDir()}
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		cmd.Wait() // the exit code is looked at
		close(ended)
	}()
	for {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)) // it may have ended
		if m := highWater.FindSubmatch(status); m != nil {
			kib, err := strconv.Atoi(string(m[1]))
			must(t, err)
			peak = max(peak, kib)
		}
		select {
		case <-ended:
			if peak == 0 {
				t.Fatal("its memory was not seen")
			}
			return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}, peak
		case <-time.After(5 * time.Millisecond):
		}
	}
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// newFloodHub is production, but for what is flooded.
func newFloodHub(t *testing.T, rows *hubtest.Memory, f flood) string {
	hub := hubtest.New(rows, hubtest.Options{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if f.method != "" && bytes.Contains(body, []byte(f.method)) {
			f.serve(w, body)
			return
		}
		hub.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/kojihub"
}

// TestFlood: a hub, or what is in its place, answers with what has no end, many times at once. The
// pull takes little memory, ends, and says in one line whose fault it is.
func TestFlood(t *testing.T) {
	t.Parallel()
	const (
		head  = "<?xml version='1.0'?><methodResponse><params><param><value>"
		multi = head + "<array><data><value><array><data><value>"
		table = head + "<struct><member><name>TABLE</name><value><array><data><value>"
	)
	repeat := func(s string) func(int) string {
		s = strings.Repeat(s, 1+(1<<20)/len(s))
		return func(int) string { return s }
	}
	long := strings.Repeat("n", 60_000)
	name := func(i int) string { return fmt.Sprintf("<member><name>%d%s</name><value/></member>", i, long) }
	rows, err := hubtest.Rows(kojiprod.Rows())
	must(t, err)
	floods := map[string]flood{
		"modules": {"listTagged", false, multi + "<array><data>", func(i int) string {
			return fmt.Sprintf("<value><struct><member><name>build_id</name><value><int>%d</int></value></member><member><name>nvr</name><value><string>%s</string></value></member></struct></value>", i, strings.Repeat("n", 900))
		}},
		"text":                {"queryHistory", false, table + "<string>", repeat("more and ")},
		"text in gzip":        {"queryHistory", true, table + "<string>", repeat("more and ")},
		"spaces in base64":    {"queryHistory", true, table + "<base64>", repeat("a ")},
		"values":              {"queryHistory", true, table + "<array><data>", repeat("<value/>")},
		"bad values":          {"queryHistory", true, table + "<array><data>", repeat("<value><int>x</int></value>")},
		"names":               {"queryHistory", true, table + "<struct>", name},
		"text in a multicall": {"getBuild", true, multi + "<string>", repeat("x")},
		"a fault":             {"getBuild", true, head + "<array><data><value><struct><member><name>faultString</name><value>", repeat("x ")},
		"a comment":           {"getBuild", true, head + "<!--", repeat(" comment")},
	}
	for _, what := range seedtest.SomeKeys(floods, 2) {
		f := floods[what]
		t.Run(what, func(t *testing.T) {
			url := newFloodHub(t, rows, f)
			o, peak := peakOf(t, "pull", "--hub", url, "--tag", "f42-compose", "--tag", "f42-build", "--event", "419", "--jobs", "16", "--store", t.TempDir())
			t.Logf("%d MiB, exit code %d: %s", peak>>10, o.code, o.stderr)
			if peak > mostMemory {
				t.Errorf("%d MiB", peak>>10)
			}
			if last := o.stderr[strings.LastIndex(strings.TrimSpace(o.stderr), "\n")+1:]; o.code != 5 || strings.Count(o.stderr, "\n") != 1 || !strings.Contains(last, url+" sends ") {
				t.Errorf("exit code %d: %s", o.code, o.stderr)
			}
		})
	}
}

// TestLargeRows: rows that are large, but not too large, come, as many as there are at once.
func TestLargeRows(t *testing.T) {
	t.Parallel()
	extras := map[string]string{
		"ASCII":     `{"a": "` + strings.Repeat("x", 15<<20) + `"}`,
		"escaped":   `{"a": "` + strings.Repeat(`\\`, 7<<20) + `"}`,
		"not ASCII": `{"a": "` + strings.Repeat("é", 7<<20) + `"}`,
		"values":    `{"a": [` + strings.Repeat("1,", 200_000) + `1]}`,
	}
	for _, what := range seedtest.SomeKeys(extras, 1) {
		extra := extras[what]
		t.Run(what, func(t *testing.T) {
			rows, err := hubtest.Rows(kojiprod.Rows())
			must(t, err)
			found, err := rows.Select("build", hubtest.Values{"state": 1})
			must(t, err)
			for _, row := range found[:12] {
				_, err := rows.Update("build", hubtest.Values{"id": row["id"]}, hubtest.Values{"extra": extra})
				must(t, err)
			}
			o, peak := peakOf(t, "pull", "--hub", newFloodHub(t, rows, flood{}), "--tag", "f42-compose", "--tag", "f42-build", "--event", "419", "--store", t.TempDir())
			t.Logf("%d MiB, exit code %d: %.300s", peak>>10, o.code, o.stderr)
			if peak > mostMemory {
				t.Errorf("%d MiB", peak>>10)
			}
		})
	}
}
