package kojisnap_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kolo/xmlrpc"
	"golang.org/x/sync/errgroup"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/store/dir"
)

// benchRole tells a copy of the test program what it is in a benchmark: hub, pull, replay, load or copy. Each
// is a process of its own, so that time and memory are its own.
const benchRole = "KOJISNAP_BENCH_ROLE"

func TestMain(m *testing.M) {
	roles := map[string]func(args []string) error{"hub": benchHub, "pull": benchPull, "replay": benchReplay, "load": benchLoad, "copy": benchCopy}
	role := roles[os.Getenv(benchRole)]
	if role == nil {
		os.Exit(dbtest.Main(m))
	}
	if err := role(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func benchCommand(b *testing.B, role string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(b.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), benchRole+"="+role)
	cmd.Stderr = os.Stderr
	return cmd
}

// benchHub serves a generated hub, and changes it as often as each line of its input says.
func benchHub(args []string) error {
	factor, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	rows, err := generate.Hub(generate.Options{Seed: 1, Factor: factor})
	if err != nil {
		return err
	}
	debug.FreeOSMemory()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var handler http.Handler = hubtest.New(rows, hubtest.Options{})
	if args[1] == "paced" {
		handler = paced(handler)
	}
	go http.Serve(l, handler)
	url := fmt.Sprintf("http://%s/kojihub", l.Addr())
	last, now, err := newestIDs(url)
	if err != nil {
		return err
	}
	fmt.Println(url)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		n, err := strconv.Atoi(in.Text())
		if err != nil {
			return err
		}
		now += 26 * 3600 * 1e6 // what went before is older than the overlap
		if err := rows.Change(func(tx *hubtest.Tx) error { return update(tx, n, last, &now) }); err != nil {
			return err
		}
		fmt.Println("done")
	}
	return nil
}

// What a worker of a real hub needs, see package kojisnap's prices.
const (
	paceCall = 200 * time.Microsecond // of a multicall's calls
	paceByte = 25 * time.Nanosecond   // 40 MB/s
)

// paced holds replies back for as long as a worker of a real hub takes to make them.
func paced(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		calls := max(1, bytes.Count(body, []byte("<name>methodName</name>")))
		h.ServeHTTP(&pacedWriter{ResponseWriter: w, ready: start.Add(time.Duration(calls) * paceCall)}, r)
	})
}

type pacedWriter struct {
	http.ResponseWriter
	ready time.Time
}

func (w *pacedWriter) Write(p []byte) (int, error) {
	// A hub has the whole reply before it sends the first byte.
	if length, err := strconv.Atoi(w.Header().Get("Content-Length")); err == nil {
		time.Sleep(time.Until(w.ready.Add(time.Duration(length) * paceByte)))
	}
	return w.ResponseWriter.Write(p)
}

// newestIDs asks a hub for its newest event, with its time, build and rpm.
func newestIDs(url string) (last map[string]int64, now hubtest.Time, err error) {
	c, err := hub.New(url, hub.Options{})
	if err != nil {
		return nil, 0, err
	}
	last = map[string]int64{}
	for table, call := range map[string]hub.Call{
		"events":  {Method: "getLastEvent"},
		"build":   {Method: "listBuilds", Kwargs: map[string]any{"queryOpts": map[string]any{"order": "-build_id", "limit": 1}}},
		"rpminfo": {Method: "listRPMs", Kwargs: map[string]any{"queryOpts": map[string]any{"order": "-id", "limit": 1}}},
	} {
		v, err := c.Call(context.Background(), call)
		if err != nil {
			return nil, 0, err
		}
		switch table {
		case "events":
			last[table], _ = v.Field("id").Int()
			ts, _ := v.Field("ts").Float()
			now = hubtest.Time(ts * 1e6)
		case "build":
			last[table], _ = v.Index(0).Field("build_id").Int()
		default:
			last[table], _ = v.Index(0).Field("id").Int()
		}
		if last[table] == 0 {
			return nil, 0, fmt.Errorf("no newest row of %s", table)
		}
	}
	return last, now, nil
}

// update does in the tag what a day of updates does: n builds are replaced by newer ones, with as
// many rpms and signatures. It reads all before it writes, as the hub's indexes live until then.
func update(tx *hubtest.Tx, n int, last map[string]int64, now *hubtest.Time) error {
	tags, err := tx.Select("tag", hubtest.Values{"name": generate.Tag})
	if err != nil {
		return err
	}
	listed, err := tx.Select("tag_listing", hubtest.Values{"tag_id": tags[0]["id"], "active": true})
	if err != nil {
		return err
	}
	next := func(table string) int64 { last[table]++; return last[table] }
	step := len(listed) / n
	added := map[string][]hubtest.Values{}
	for i := range n {
		old := listed[i*step]
		*now += 60e6
		added["events"] = append(added["events"], hubtest.Values{"id": next("events"), "time": *now})
		if err := replace(tx, old, last["events"], *now, next, added); err != nil {
			return err
		}
	}
	for i := range n {
		old := listed[i*step]
		if _, err := tx.Update("tag_listing", hubtest.Values{"build_id": old["build_id"], "tag_id": old["tag_id"], "active": true},
			hubtest.Values{"active": nil, "revoke_event": added["events"][i]["id"], "revoker_id": 1}); err != nil {
			return err
		}
	}
	for _, table := range []string{"events", "build", "build_types", "tag_listing", "rpminfo", "rpmsigs"} {
		for _, row := range added[table] {
			if err := tx.Insert(table, row); err != nil {
				return err
			}
		}
	}
	return nil
}

// replace makes a newer build of an old one and tags it.
func replace(tx *hubtest.Tx, old hubtest.Values, event int64, now hubtest.Time, next func(string) int64, added map[string][]hubtest.Values) error {
	builds, err := tx.Select("build", hubtest.Values{"id": old["build_id"]})
	if err != nil {
		return err
	}
	rpms, err := tx.Select("rpminfo", hubtest.Values{"build_id": old["build_id"]})
	if err != nil {
		return err
	}
	build := builds[0]
	build["id"], build["create_event"], build["completion_time"] = next("build"), event, now
	build["release"] = fmt.Sprintf("%v.%d", build["release"], build["id"])
	added["build"] = append(added["build"], build)
	added["build_types"] = append(added["build_types"], hubtest.Values{"build_id": build["id"], "btype_id": 1})
	added["tag_listing"] = append(added["tag_listing"],
		hubtest.Values{"build_id": build["id"], "tag_id": old["tag_id"], "create_event": event, "creator_id": 1, "active": true})
	for _, rpm := range rpms {
		sigs, err := tx.Select("rpmsigs", hubtest.Values{"rpm_id": rpm["id"]})
		if err != nil {
			return err
		}
		rpm["id"], rpm["build_id"], rpm["release"] = next("rpminfo"), build["id"], build["release"]
		added["rpminfo"] = append(added["rpminfo"], rpm)
		for _, sig := range sigs {
			sig["rpm_id"] = rpm["id"]
			added["rpmsigs"] = append(added["rpmsigs"], sig)
		}
	}
	return nil
}

// keepRequests writes down the bodies that pass through.
type keepRequests struct {
	mu  sync.Mutex
	out *bufio.Writer
}

func (k *keepRequests) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	k.mu.Lock()
	fmt.Fprintf(k.out, "%d\n%s", len(body), body)
	k.mu.Unlock()
	return http.DefaultTransport.RoundTrip(req)
}

// benchPull pulls into a store and prints what it did. With a third argument it writes down its
// requests there; a fourth is the event since which history is pulled, too.
func benchPull(args []string) error {
	debug.SetMemoryLimit(150 << 20) // as the command does
	opt := hub.Options{}
	var since int64
	if len(args) > 3 {
		var err error
		if since, err = strconv.ParseInt(args[3], 10, 64); err != nil {
			return err
		}
	}
	if len(args) > 2 && args[2] != "" {
		f, err := os.Create(args[2])
		if err != nil {
			return err
		}
		defer f.Close()
		k := &keepRequests{out: bufio.NewWriter(f)}
		defer k.out.Flush()
		opt.HTTPClient = &http.Client{Transport: k}
	}
	c, err := hub.New(args[0], opt)
	if err != nil {
		return err
	}
	s, err := dir.Open(args[1])
	if err != nil {
		return err
	}
	r, err := pull.Pull(context.Background(), c, s, pull.Options{Tags: []string{generate.Tag}, Margin: -1, Since: since, Program: "bench"})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// benchReplay sends the requests of a file, four at a time, and throws the replies away, or has
// kolo/xmlrpc decode them.
func benchReplay(args []string) error {
	take := func(r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	}
	if args[2] == "kolo" {
		take = func(r io.Reader) error {
			body, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			var v any
			return xmlrpc.Response(body).Unmarshal(&v)
		}
	}
	f, err := os.Open(args[1])
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	var g errgroup.Group
	g.SetLimit(4)
	for {
		head, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return g.Wait()
		}
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(strings.TrimSpace(head))
		if err != nil {
			return err
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(in, body); err != nil {
			return err
		}
		g.Go(func() error {
			resp, err := http.Post(args[0], "text/xml", bytes.NewReader(body))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			return take(resp.Body)
		})
	}
}

// timed runs a process and returns what it printed, how long it took and its peak memory in MiB.
func timed(b *testing.B, cmd *exec.Cmd) ([]byte, time.Duration, float64) {
	b.Helper()
	start := time.Now()
	out, err := cmd.Output()
	took := time.Since(start)
	if err != nil {
		b.Fatal(err)
	}
	return out, took, float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) / 1024
}

// size is how many bytes the files below a directory hold.
func size(b *testing.B, path string) (n int64) {
	b.Helper()
	err := filepath.WalkDir(path, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkPullScale pulls the tag of a generated hub whole; sends the same requests and throws
// the replies away, which is the limit, or decodes them by kolo/xmlrpc; and pulls again after a
// change for each hundredth of the builds. The hub is another process on the same machine, and
// its time is in all of them. A hub in Go leaves a client little to hide behind: "paced" is one
// that takes as long for its answers as a real one, without using the machine for it.
func BenchmarkPullScale(b *testing.B) {
	for _, factor := range []int{1, 4} {
		for _, hub := range []string{"fast", "paced"} {
			b.Run(fmt.Sprintf("factor=%d/hub=%s", factor, hub), func(b *testing.B) { benchScale(b, factor, hub) })
		}
	}
}

// startHub starts a generated hub as a process of its own. change makes it change n builds.
func startHub(b *testing.B, factor int, kind string) (url string, change func(n int)) {
	server := benchCommand(b, "hub", strconv.Itoa(factor), kind)
	orders, err := server.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	answers, err := server.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		orders.Close()
		server.Wait()
	})
	lines := bufio.NewScanner(answers)
	if !lines.Scan() {
		b.Fatal("the hub did not start")
	}
	return lines.Text(), func(n int) {
		fmt.Fprintln(orders, n)
		if !lines.Scan() {
			b.Fatal("the hub is gone")
		}
	}
}

func benchScale(b *testing.B, factor int, kind string) {
	url, change := startHub(b, factor, kind)
	scratch := b.TempDir()
	requests, path := filepath.Join(scratch, "requests"), filepath.Join(scratch, "store")
	var whole pull.Result
	// report takes medians, where there are several.
	report := func(b *testing.B, what map[string][]float64) {
		for unit, values := range what {
			slices.Sort(values)
			b.ReportMetric(values[len(values)/2], unit)
		}
	}
	note := func(what map[string][]float64, r pull.Result, took time.Duration, rss float64) {
		for unit, v := range map[string]float64{"s": took.Seconds(), "MiB-peak": rss, "rows": float64(r.Asked.Rows),
			"MB": float64(r.Asked.Received) / 1e6, "requests": float64(r.Asked.Requests)} {
			what[unit] = append(what[unit], v)
		}
	}
	b.Run("full", func(b *testing.B) {
		what := map[string][]float64{}
		for b.Loop() {
			if err := os.RemoveAll(path); err != nil {
				b.Fatal(err)
			}
			out, took, rss := timed(b, benchCommand(b, "pull", url, path, requests))
			if err := json.Unmarshal(out, &whole); err != nil {
				b.Fatal(err)
			}
			note(what, whole, took, rss)
		}
		report(b, what)
	})
	for _, take := range []string{"discard", "kolo"} {
		if take == "kolo" && (factor > 1 || kind == "paced") {
			continue // it takes minutes, and says no more
		}
		b.Run(take, func(b *testing.B) {
			what := map[string][]float64{}
			for b.Loop() {
				_, took, rss := timed(b, benchCommand(b, "replay", url, requests, take))
				what["s"], what["MiB-peak"] = append(what["s"], took.Seconds()), append(what["MiB-peak"], rss)
			}
			report(b, what)
		})
	}
	b.Run("again", func(b *testing.B) {
		what := map[string][]float64{}
		for b.Loop() {
			b.StopTimer()
			change(240 * factor)
			before := size(b, path)
			b.StartTimer()
			out, took, rss := timed(b, benchCommand(b, "pull", url, path))
			var r pull.Result
			if err := json.Unmarshal(out, &r); err != nil {
				b.Fatal(err)
			}
			if r.Base == "" || r.Existing {
				b.Fatalf("went on from %q, the same again: %v", r.Base, r.Existing)
			}
			note(what, r, took, rss)
			what["%rows"] = append(what["%rows"], 100*float64(r.Asked.Rows)/float64(whole.Asked.Rows))
			what["%growth"] = append(what["%growth"], 100*float64(size(b, path)-before)/float64(before))
		}
		report(b, what)
	})
}
