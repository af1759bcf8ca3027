package hardlink_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/kojisnap/progress"
	"kojisnap/volumes"
)

const childEnv = "KOJISNAP_TEST_COPY"

// job tells a child process, which runs this test's program, what to copy.
type job struct {
	Options hardlink.Options
	Plan    volumes.Plan
	Remove  bool
	Bench   bool // copy without waiting for answers, and print a benchResult at the end
}

// tell tells the command, which runs this program, where its job is. The job is in a file: a plan is too long
// for the environment.
func (j job) tell(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	file := jobFile{Plan: j.Plan, Remove: j.Remove, Bench: j.Bench}
	var err error
	//lint:ignore SA1026 no such test has a client of its own
	if file.Options, err = json.Marshal(j.Options); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(file); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "job")
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), childEnv+"="+name)
}

// jobFile is the file of a job. A plan as gob is read in a third of the time of JSON; but gob cannot encode
// some fields of the options.
type jobFile struct {
	Options       []byte // JSON
	Plan          volumes.Plan
	Remove, Bench bool
}

// child copies, and prints a line for each unit of work. It waits for the answer "go" each time, so that the
// parent decides when to kill it.
func child() int {
	var j jobFile
	var opts hardlink.Options
	b, err := os.ReadFile(os.Getenv(childEnv))
	if err == nil {
		err = gob.NewDecoder(bytes.NewReader(b)).Decode(&j)
	}
	if err == nil {
		err = json.Unmarshal(j.Options, &opts)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if !j.Bench {
		opts.Progress = &chatter{in: bufio.NewReader(os.Stdin)}
	}
	e, err := hardlink.New(opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	diff := e.Diff
	if j.Remove {
		diff = e.DiffRemove
	}
	a, err := diff(context.Background(), j.Plan)
	var r hardlink.Report
	if err == nil {
		r, err = e.Apply(context.Background(), a)
	}
	if err == nil && j.Bench {
		err = benchTell(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// chatter is a Progress that asks before it continues. Jobs is 1, so it needs no lock.
type chatter struct{ in *bufio.Reader }

func (c *chatter) Begin(string, int64) progress.Counter { return c }
func (c *chatter) End()                                 {}
func (c *chatter) Add(int64) {
	fmt.Println("done")
	c.in.ReadString('\n')
}
