package hubtest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

// recording is one call that was made to a real hub.
type recording struct {
	N               int
	Method          string
	Case            string
	Kwargs          map[string]any
	RequestBytes    int               `json:"request_bytes"`
	HTTPMethod      string            `json:"http_method"`
	Path            string            `json:"path"`
	Status          int               `json:"http_status"`
	RequestHeaders  map[string]string `json:"request_headers"`
	ResponseHeaders map[string]string `json:"response_headers"`
	RequestFile     string            `json:"request_file"`
	ResponseFile    string            `json:"response_file"`
}

func (r recording) name() string { return fmt.Sprintf("%03d-%s.%s", r.N, r.Method, r.Case) }

// exceptions are the recordings that are not compared, with the reason. If one would pass, the test fails.
var exceptions = map[string]string{
	"117-listArchives.asList":      "limit without order: which rows come is PostgreSQL's choice",
	"232-getLoggedInUser.session":  "a session: hubtest answers anonymous callers only",
	"235-getTag.session-ok":        "a session",
	"242-getTag.sequence-callnum3": "a session",
}

// notOffered are recorded methods that hubtest does not answer.
var notOffered = map[string]string{
	"createTag":           "writes",
	"createUser":          "writes",
	"deleteTag":           "writes",
	"setBuildOwner":       "writes",
	"login":               "sessions",
	"logout":              "sessions",
	"getChangelogEntries": "reads rpm files",
	"getRPMDeps":          "reads rpm files",
	"getRPMHeaders":       "reads rpm files",
	"listRPMFiles":        "reads rpm files",
}

// unordered are the arrays that the hub's SQL does not order: they come as PostgreSQL finds the rows, and are
// compared as sets. The path leads to them in the result (see node.sort). It is ignored if a call gives an
// order. If no recording needs an entry, the test fails.
var unordered = map[string][]string{
	"getGroupMembers": {},
	"getTaskChildren": {},
	"listArchives":    {},
	"listBuildroots":  {},
	"listBuilds":      {},
	"listCGs":         {"*", "users"},
	"listChannels":    {},
	"listPackages":    {},
	"listRPMs":        {},
	"listTaggedRPMS":  {"0"}, // the rpms; the builds are ordered
	"listTags":        {},
	"listTasks":       {},
	"queryHistory":    {"*"},
	"queryRPMSigs":    {},
	"search":          {},
}

// texts are the recordings with Koji's documentation, which hubtest does not send.
var texts = map[string]string{
	"015-_listapi.plain": "doc",
}

// offlineText is the text of an offline hub during a recording.
var offlineText = map[int]string{
	244: "údržba / planned outage", 245: "údržba / planned outage",
	246: "Server disabled for maintenance", 247: "Server disabled for maintenance",
	248: "database outage", 249: "database outage",
}

func TestRecordingsFromFiles(t *testing.T) {
	src, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	compareRecordings(t, src)
}

func compareRecordings(t *testing.T, src hubtest.Source) {
	index, err := fs.ReadFile(kojiprod.Recordings(), "index.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []recording
	if err := json.Unmarshal(index, &all); err != nil {
		t.Fatal(err)
	}
	topdir := t.TempDir()
	if err := kojiprod.ExtractTree(topdir); err != nil {
		t.Fatal(err)
	}
	same, equal, left := 0, 0, 0
	used := map[string]bool{}
	for _, r := range all {
		text := offlineText[r.N]
		hub := httptest.NewServer(hubtest.New(src, hubtest.Options{Topdir: topdir, Offline: func() string { return text }}))
		t.Run(r.name(), func(t *testing.T) {
			if _, ok := notOffered[r.Method]; ok {
				left++
				return
			}
			diff, bytewise := r.replay(t, used, hub.URL)
			reason, excepted := exceptions[r.name()]
			switch {
			case excepted && diff == "":
				t.Errorf("is an exception (%s), but equals the recording", reason)
			case !excepted && diff != "":
				t.Error(diff)
			case !excepted:
				equal++
			}
			if bytewise {
				same++
			}
		})
		hub.Close()
	}
	for method := range unordered {
		if !used[method] {
			t.Errorf("%s: no recording needs that its order is left out", method)
		}
	}
	t.Logf("%d recordings: %d equal, %d of them byte for byte; %d exceptions, %d of methods that are not offered",
		len(all), equal, same, len(exceptions), left)
	if equal+left+len(exceptions) != len(all) && !t.Failed() {
		t.Errorf("%d equal, %d exceptions and %d not offered are not all of %d recordings", equal, len(exceptions), left, len(all))
	}
}

// replay sends the recorded request and returns how the answer differs.
func (r recording) replay(t *testing.T, used map[string]bool, url string) (diff string, bytewise bool) {
	request := file(t, r.RequestFile)
	if missing := r.RequestBytes - len(request); missing > 0 { // only the beginning of the request was recorded
		request = append(request, bytes.Repeat([]byte("x"), missing)...)
	}
	want := file(t, r.ResponseFile)
	req, err := http.NewRequest(r.HTTPMethod, url+r.Path, bytes.NewReader(request))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/xml")
	for k, v := range r.RequestHeaders {
		if strings.Trim(v, " -~") == v { // the recording hides keys
			v = "hidden"
		}
		req.Header.Set(k, v)
	}
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: false}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err.Error(), false
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error(), false
	}
	if resp.StatusCode != r.Status {
		return fmt.Sprintf("status %d, want %d: %.300s", resp.StatusCode, r.Status, got), false
	}
	for _, h := range []string{"Koji-Version", "Content-Type", "Allow"} {
		if g, w := resp.Header.Get(h), r.ResponseHeaders[h]; g != w {
			return fmt.Sprintf("header %s: %q, want %q", h, g, w), false
		}
	}
	if bytes.Equal(got, want) {
		if g, w := resp.Header.Get("Content-Length"), r.ResponseHeaders["Content-Length"]; g != w {
			return fmt.Sprintf("Content-Length %s, want %s", g, w), true
		}
		return "", true
	}
	if r.ResponseHeaders["Content-Type"] != "text/xml" {
		return fmt.Sprintf("got %q, want %q", got, want), false
	}
	return r.compare(t, used, got, want), false
}

func (r recording) compare(t *testing.T, used map[string]bool, got, want []byte) string {
	gotTree, err := parseTree(got)
	if err != nil {
		return err.Error()
	}
	wantTree, err := parseTree(want)
	if err != nil {
		t.Fatal(err)
	}
	trees := []*node{gotTree, wantTree}
	for _, tree := range trees {
		if member, ok := texts[r.name()]; ok {
			tree.drop(member)
		}
		tree.withoutFrames().normal()
	}
	diff := difference("", gotTree, wantTree)
	path, loose := unordered[r.Method]
	if diff == "" || !loose || r.givesOrder() {
		return diff
	}
	used[r.Method] = true
	for _, tree := range trees {
		if result := tree.Child[0]; result.Name == "params" {
			result.Child[0].Child[0].sort(path...)
		}
	}
	return difference("", gotTree, wantTree)
}

// givesOrder reports whether the caller orders the rows.
func (r recording) givesOrder() bool {
	opts, _ := r.Kwargs["queryOpts"].(map[string]any)
	return opts["order"] != nil
}

func file(t *testing.T, name string) []byte {
	b, err := fs.ReadFile(kojiprod.Recordings(), name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
