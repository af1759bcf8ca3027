package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/report"
	"kojisnap/kojisnap/report/reporttest"
	"kojisnap/kojisnap/verify"
)

// hostile are names as a hub or a file can have them.
var hostile = []string{
	`</script><script>hacked=1</script>`, `"><img src=x onerror=hacked=1>`, `' onmouseover='hacked=1`, `</style><style>*{display:none}</style>`,
	"two\nlines\tand \x00 \x1b[31m", `--></title><svg onload=hacked=1>`, `javascript:hacked=1`, `{{.CSS}} {{template "cell"}}`, "../../etc/passwd",
	"\u202egnp.exe\u2066 \u200b", "&lt;b&gt; &amp; &#x41;", strings.Repeat("long", 60), "`${hacked=1}`", `url(http://example.com/x.png)`,
}

// fill puts hostile texts, numbers and times into whatever a value has.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 11, 29, 12, *n%60, 0, 0, time.UTC)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range 3 {
			fill(v.Index(i), n)
		}
	case reflect.String:
		v.SetString(hostile[*n%len(hostile)] + fmt.Sprint(" n", *n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(1 + *n%7))
	case reflect.Float64:
		v.SetFloat(float64(*n) / 3)
	}
}

// hostileFacts are facts whose every text is hostile.
func hostileFacts() *report.Facts {
	f, n := new(report.Facts), 0
	fill(reflect.ValueOf(f).Elem(), &n)
	states := []kojisnap.State{kojisnap.StateNotReady, kojisnap.StateReady, kojisnap.StateUnknown}
	statuses := []verify.Status{verify.StatusFailed, verify.StatusWarning, verify.StatusOK}
	for i := range f.Environments {
		e := &f.Environments[i]
		e.Verdict.State = states[i]
		e.Drift.Error, e.Drift.Loaded = "", false
		for j := range e.Checks {
			e.Checks[j].Status = statuses[j]
		}
		e.Files.Free, e.Files.Room = 3<<30, 10<<30
	}
	return f
}

var tags = regexp.MustCompile(`<[^>]*>`)

// plain is the text of a page as a browser shows it.
func plain(page string) string { return html.UnescapeString(tags.ReplaceAllString(page, "")) }

func page(t *testing.T, f *report.Facts) string {
	t.Helper()
	var b bytes.Buffer
	if err := f.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// texts collects the texts of facts that every form shows.
func texts(f *report.Facts) map[string]bool {
	all := map[string]bool{}
	for _, e := range f.Environments {
		all[e.Name], all[e.Verdict.Text] = true, true
		for _, c := range e.Verdict.Causes {
			all[c.What] = true
		}
		for _, c := range e.Checks {
			all[c.Name] = true
			if c.Status != verify.StatusOK {
				for _, entry := range c.Entries {
					all[entry] = true
				}
			}
		}
		for _, o := range e.Own {
			for _, entry := range o.Entries {
				all[entry] = true
			}
		}
		for _, k := range e.Config {
			all[k.Value] = true
		}
		for _, l := range [][]report.BuildChange{e.Changes.New.Builds, e.Changes.Gone.Builds, e.Changes.Moved.Builds, e.Changes.Added.Builds} {
			for _, b := range l {
				all[b.Build] = true
			}
		}
	}
	return all
}

// squeeze leaves letters, digits and most signs of a text, so that forms which break lines or replace control
// characters can be compared.
func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || r > 0x2000 {
			return -1
		}
		return r
	}, s)
}

// TestHostileNames: whatever names there are, they are text, in all forms: the page is sound, runs nothing and asks
// for nothing, and no name is lost.
func TestHostileNames(t *testing.T) {
	f := hostileFacts()
	p := page(t, f)
	reporttest.Parse(t, []byte(p))
	if n := strings.Count(p, "<script") + strings.Count(p, "<img") + strings.Count(p, "onerror=hacked=1>") + strings.Count(p, " style="); n > 0 {
		t.Errorf("%d names are markup", n)
	}
	var text bytes.Buffer
	if err := f.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if bad := regexp.MustCompile("[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069]").FindAllString(text.String()+p, -1); len(bad) > 0 {
		t.Errorf("control characters come through: %q", bad)
	}
	shown, said := squeeze(plain(p)), squeeze(text.String())
	for name := range texts(f) {
		if !strings.Contains(shown, squeeze(name)) {
			t.Errorf("the page lacks %q", name)
		}
		if !strings.Contains(said, squeeze(name)) {
			t.Errorf("the text lacks %q", name)
		}
	}
	again, err := f.Masked()
	if err != nil || again.Environments[1].Name == "" || len(again.Environments) != 3 {
		t.Errorf("through JSON: %v", err)
	}
	reporttest.Browse(t, map[string][]byte{"hostile": []byte(p), "healthy": []byte(page(t, healthy(t)))})
}

// healthy is a staging where all is well.
func healthy(t *testing.T) *report.Facts {
	in := input(0)
	e := report.Collect(t.Context(), in)
	return &report.Facts{Made: in.Status.Now, Version: "1.0", Environments: []report.Env{e}}
}

// input is a staging with a sync each hour whose last one ended with a code.
func input(exit int, missing ...int) report.Input {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	s := &status.Status{Mark: book.Mark{Environment: "stg", Database: "koji"}, Now: now, Event: 419, EventTime: now.Add(-time.Hour), History: 300}
	s.LastSuccess = &book.Run{ID: 9, Snapshot: "419-0123456789ab", Hub: "https://koji.example.com/kojihub", Finished: now.Add(-51 * time.Minute)}
	r := kojisnap.SyncReport{Store: "/store", Passed: map[string]map[string]map[string]int{"tag": {"f42": {"": 1}, "f43": {"": 1}}, "files": {"f42": {"x86_64": 200, "aarch64": 190}, "f43": {"x86_64": 7}}},
		Steps: []kojisnap.SyncStep{
			{Name: "pull", Seconds: 12, Counts: map[string]int64{"requests": 40, "asked_rows": 1000, "sent": 2000, "received": 300_000, "rows": 5000}},
			{Name: "copy", Seconds: 3, Counts: map[string]int64{"made": 5, "hardlinked": 3, "copied": 2, "bytes": 4 << 20}},
			{Name: "load", Seconds: 5, Counts: map[string]int64{"inserted": 10, "updated": 3, "revoked_or_deleted": 1}},
			{Name: "verify", Seconds: 9, Counts: map[string]int64{"checks": 5}}}}
	body, _ := json.Marshal(r)
	in := report.Input{Env: "stg", Status: &kojisnap.StagingStatus{Status: s}, Checked: 0}
	at := now.Add(-51 * time.Minute)
	for i := range 12 {
		run := book.SyncRun{ID: int64(12 - i), Started: at.Add(-30 * time.Second), Finished: at, Event: 419, LastLoad: 9, Report: body}
		if i == 0 {
			run.Exit = exit
		}
		in.Syncs = append(in.Syncs, run)
		at = at.Add(-time.Hour)
		if slices.Contains(missing, i) {
			at = at.Add(-2 * time.Hour)
		}
	}
	s.Syncs = in.Syncs[:10]
	if exit == 0 {
		s.LastGoodSync = &s.Syncs[0]
	} else {
		s.LastGoodSync = &s.Syncs[1]
	}
	return in
}

// TestCollect: facts are what the records say.
func TestCollect(t *testing.T) {
	e := report.Collect(t.Context(), input(0))
	if e.Verdict.Text != "READY at event 419, 51 min old" || e.Verdict.State != kojisnap.StateReady || len(e.Verdict.Causes) > 0 {
		t.Errorf("%+v", e.Verdict)
	}
	if len(e.Checks) != 5 || e.Checks[0].Tag != "f42" || e.Checks[0].Name != "tag" || e.Every != 3600 || e.Overdue != 0 {
		t.Errorf("%d checks, the first %+v, every %d s, overdue %d", len(e.Checks), e.Checks[0], e.Every, e.Overdue)
	}
	if s := e.Syncs[0]; s.Rows != 14 || s.Bytes != 4<<20 || s.Requests != 40 || s.Seconds != 30 {
		t.Errorf("%+v", s)
	}
	if c := e.Cost; c.Last.Requests != 40 || c.All.Requests != 480 || c.All.Pulls != 12 || c.All.Seconds != 144 || !c.All.Since.Equal(e.Syncs[11].Started) {
		t.Errorf("%+v", c)
	}
	if f := e.Files; f.Last.Hardlinked != 3 || f.All.Copied != 24 || f.All.Files != 60 {
		t.Errorf("%+v", f)
	}
}

// TestGaps: where scheduled syncs were missed the report says so, also since the last one; a few syncs are no schedule.
func TestGaps(t *testing.T) {
	e := report.Collect(t.Context(), input(0, 4))
	missed := map[int]int{}
	for i, s := range e.Syncs {
		if s.Missed > 0 {
			missed[i] = s.Missed
		}
	}
	if !maps.Equal(missed, map[int]int{4: 2}) || e.Every != 3600 {
		t.Errorf("missed %v, every %d s", missed, e.Every)
	}
	in := input(0)
	in.Status.Now = in.Status.Now.Add(2 * time.Hour)
	e = report.Collect(t.Context(), in)
	if e.Overdue != 2 || !strings.HasSuffix(e.Verdict.Text, "; 2 scheduled syncs were missed") || len(e.Verdict.Causes) != 1 {
		t.Errorf("overdue %d: %+v", e.Overdue, e.Verdict)
	}
	in.Syncs = in.Syncs[:4]
	if e = report.Collect(t.Context(), in); e.Every != 0 || e.Overdue != 0 {
		t.Errorf("of four syncs: every %d s", e.Every)
	}
}

// TestOldRecords: records of earlier versions, which have no checks that are ok, no lists and fewer counts, and one
// that cannot be read, are shown as far as they go.
func TestOldRecords(t *testing.T) {
	in := input(3)
	in.Syncs[0].Report = json.RawMessage(`{"store": "/store", "steps": [{"name": "copy", "seconds": 2, "counts": {"made": 7, "bytes": 70}}, {"name": "verify", "seconds": 2, "counts": {"checks": 9, "failed": 1}}],
		"checks": [{"name": "files", "tag": "f42", "arch": "x86_64", "status": "failed", "count": 212, "bad": 3, "detail": "3 of 212", "examples": ["a", "b", "c"]}]}`)
	in.Syncs[3].Report = json.RawMessage(`[]`)
	in.Syncs[4].Report = json.RawMessage(`{}`)
	in.Status.Syncs = in.Syncs[:10]
	e := report.Collect(t.Context(), in)
	if e.Verdict.Text != "NOT READY: 3 of 212 files" || len(e.Checks) != 1 || !slices.Equal(e.Checks[0].Entries, []string{"a", "b", "c"}) || e.Checks[0].Detail != "" {
		t.Errorf("%+v\n%+v", e.Verdict, e.Checks)
	}
	if e.Files.Last.Files != 7 || e.Files.Last.Hardlinked != 0 || len(e.Syncs) != 11 || len(e.Troubles) != 1 {
		t.Errorf("%+v, %d syncs, %q", e.Files.Last, len(e.Syncs), e.Troubles)
	}
}

// TestLongLists: a list of any length leaves the page bounded, and the page says how much it leaves out.
func TestLongLists(t *testing.T) {
	in := input(0)
	for i := range report.MaxRows + 1234 {
		in.Status.Kept = append(in.Status.Kept, book.Entry{Relation: "build", Key: fmt.Sprintf("id=%d", i), What: "staging's edit stays"})
	}
	f := &report.Facts{Environments: []report.Env{report.Collect(t.Context(), in)}}
	if o := f.Environments[0].Own; len(o) != 1 || o[0].Total != report.MaxRows+1234 || len(o[0].Entries) != report.MaxRows {
		t.Fatalf("%d kinds", len(o))
	}
	checks := []report.Cell{{Name: "files", Status: verify.StatusFailed, Count: 70_000, Bad: 60_000, Entries: []string{"a", "b"}}, {Name: "trial", Status: verify.StatusFailed, Count: 1, Bad: 1, Detail: "createrepo_c ended with 1"}}
	f.Environments[0].Checks = checks
	p := plain(page(t, f))
	if strings.Count(p, "which are not on record") != 1 || !strings.Contains(p, "and 59\u202f998 more, which are not on record") {
		t.Error("the page does not say what is not on record of the checks")
	}
	if n := strings.Count(p, "build id="); n != report.MaxRows || !strings.Contains(p, "and 1\u202f234 more") {
		t.Errorf("the page has %d entries", n)
	}
	var text bytes.Buffer
	if err := f.WriteText(&text); err != nil || !strings.Contains(text.String(), "and 1234 more") {
		t.Errorf("the text does not say what it leaves out: %v", err)
	}
}
