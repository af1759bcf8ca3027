package kojisnap_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
)

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
