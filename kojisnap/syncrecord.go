package kojisnap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/status"
	"kojisnap/hardlink"
	"kojisnap/kojisnap/durable"
	"kojisnap/kojisnap/oneline"
	"kojisnap/kojisnap/secret"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/verify"
	"kojisnap/volumes/topdir"
)

// SyncStep is one step of a sync, as the record of the sync has it.
type SyncStep struct {
	Name    string           `json:"name"` // import, pull, clone, copy, load, remove, verify, discard
	Seconds float64          `json:"seconds"`
	Error   string           `json:"error,omitempty"`
	Counts  map[string]int64 `json:"counts,omitempty"`
	Waited  *book.Waited     `json:"waited,omitempty"` // of load: for composes
}

// SyncReport is what the record of a sync has beside its times and exit code.
type SyncReport struct {
	Only   Half           `json:"only,omitempty"` // the half of a sync that it did
	Store  string         `json:"store"`
	Steps  []SyncStep     `json:"steps"`  // those that were reached, in order
	Checks []verify.Check `json:"checks"` // of verify, those that are not ok
	// Passed are the checks that are ok, by name, tag and arch, each with how many things it looked at; nil if
	// verify was not reached. Lists has for each of Checks all that is bad, if its examples are not all. The database
	// keeps these two for the last sync that verified.
	Passed map[string]map[string]map[string]int `json:"passed,omitzero"`
	Lists  [][]string                           `json:"lists,omitempty"`
	// Pin is the event to pin composes at after the sync, also after a failed one; 0 if it is not known.
	Pin int64 `json:"pin,omitempty"`
	// Missing is how many files that composes need no source had.
	Missing int `json:"missing,omitempty"`
	// Held is how many other things a copy kept back.
	Held int `json:"held,omitempty"`
}

// SyncRecord is the record of a sync, as it is written to a file beside the ledger.
type SyncRecord struct {
	book.SyncRun
	Report SyncReport `json:"report"`
}

// syncRecordFile is below topdir, beside the ledger.
const syncRecordFile = ".kojisnap/sync.json"

// step runs one step of a sync and records how long it took and its error.
func (r *SyncResult) step(name string, run func() error) error {
	if r.begins != nil {
		r.begins(name)
	}
	began := time.Now()
	err := run()
	s := SyncStep{Name: name, Seconds: time.Since(began).Round(time.Millisecond).Seconds()}
	if err != nil {
		s.Error = shorten(oneline.Of(err).Error())
	}
	r.Steps = append(r.Steps, s)
	if r.ends != nil {
		r.ends(s, r)
	}
	return err
}

// noteWait records for whom the last step waited.
func (r *SyncResult) noteWait(lock *waiting) {
	if lock != nil {
		r.Steps[len(r.Steps)-1].Waited = lock.waited
	}
}

// report makes the report of a sync that ended with err.
func (r *SyncResult) report(store string, err error) SyncReport {
	rep := SyncReport{Only: r.Only, Store: store, Steps: append([]SyncStep{}, r.Steps...), Checks: []verify.Check{}}
	counts := map[string]map[string]int64{}
	if p := r.Pull; p != nil {
		counts["pull"] = map[string]int64{"rows": p.Totals.Rows, "left_out": int64(len(p.LeftOut)), "existing": 0,
			"requests": p.Asked.Requests, "asked_rows": p.Asked.Rows, "sent": p.Asked.Sent, "received": p.Asked.Received}
		if p.Existing {
			counts["pull"]["existing"] = 1
		}
	}
	for name, c := range map[string]*CopyResult{"copy": r.Copy, "remove": r.Remove, "repair": r.Repair} {
		if c != nil {
			counts[name] = copyCounts(c.Report)
		}
	}
	for name, l := range map[string]*book.LoadReport{"import": r.Import, "load": r.Load} {
		if l == nil {
			continue
		}
		in, up, gone := l.Totals()
		counts[name] = map[string]int64{"inserted": in, "updated": up, "revoked_or_deleted": gone,
			"conflicts": int64(len(l.Conflicts)), "left_out": int64(len(l.LeftOut)), "kept": int64(len(l.Kept))}
	}
	if c := r.Clone; c != nil {
		counts["clone"] = map[string]int64{"made": 1}
		if c.Kept {
			counts["clone"]["made"] = 0
		}
	}
	if d := r.Discard; d != nil {
		counts["discard"] = map[string]int64{"discarded": int64(len(d.Discarded)), "busy": int64(len(d.Busy)), "failed": int64(len(d.Failed))}
	}
	if v := r.Verify; v != nil {
		counts["verify"] = rep.noteChecks(v.Checks)
	}
	for i := range rep.Steps {
		rep.Steps[i].Counts = counts[rep.Steps[i].Name]
	}
	var left *hardlink.LeftOutError
	if errors.As(err, &left) {
		for _, err := range left.Errs {
			if errors.As(err, new(*hardlink.HeldError)) {
				rep.Held++
			} else {
				rep.Missing++
			}
		}
	}
	return rep
}

// noteChecks records what verify found, and returns how many checks there are, and of each status but ok.
func (r *SyncReport) noteChecks(checks []verify.Check) map[string]int64 {
	by := map[string]int64{"checks": int64(len(checks))}
	r.Passed = map[string]map[string]map[string]int{}
	more := false
	for _, c := range checks {
		if c.Status != verify.StatusOK {
			by[string(c.Status)]++
			r.Checks, r.Lists = append(r.Checks, c), append(r.Lists, c.Entries)
			more = more || len(c.Entries) > 0
			continue
		}
		if r.Passed[c.Name] == nil {
			r.Passed[c.Name] = map[string]map[string]int{}
		}
		if r.Passed[c.Name][c.Tag] == nil {
			r.Passed[c.Name][c.Tag] = map[string]int{}
		}
		r.Passed[c.Name][c.Tag][c.Arch] += c.Count
	}
	if !more {
		r.Lists = nil
	}
	return by
}

// All returns what is bad of the check i of Checks, as much as the record has.
func (r *SyncReport) All(i int) []string {
	if i < len(r.Lists) && len(r.Lists[i]) > 0 {
		return r.Lists[i]
	}
	return r.Checks[i].Examples
}

// copyCounts are the counts of a copy in the record: made are all the ways from hardlinked to fetched.
func copyCounts(r hardlink.Report) map[string]int64 {
	made := r.Linked + r.Reflinked + r.Copied + r.Spliced + r.Fetched
	return map[string]int64{"present": int64(r.Present), "made": int64(made), "bytes": r.Bytes,
		"links": int64(r.Links), "removed_builds": int64(r.Removed), "removed_bytes": r.RemovedBytes,
		"hardlinked": int64(r.Linked), "reflinked": int64(r.Reflinked), "copied": int64(r.Copied), "spliced": int64(r.Spliced),
		"fetched": int64(r.Fetched), "fetched_bytes": r.FetchedBytes, "symlinked": int64(r.Symlinked)}
}

// Trouble says in one line what is not ready in staging: failed checks with numbers. It is empty if the report
// knows of no trouble.
func (r SyncReport) Trouble() string {
	const shown = 3
	var said []string
	failed := 0
	for _, c := range r.Checks {
		if c.Status != verify.StatusFailed {
			continue
		}
		if failed++; failed <= shown {
			name := strings.Join(strings.Fields(c.Name+" "+c.Tag+" "+c.Arch), " ")
			said = append(said, fmt.Sprintf("%s: %d of %d", name, c.Bad, c.Count))
		}
	}
	if failed > shown {
		said = append(said, fmt.Sprintf("%d more failed checks", failed-shown))
	}
	if r.Missing > 0 {
		said = append(said, fmt.Sprintf("no source has %d files", r.Missing))
	}
	if r.Held > 0 {
		said = append(said, fmt.Sprintf("%d things were kept back by the copy", r.Held))
	}
	return strings.Join(said, ", ")
}

// RecordSync records a sync that began at started and ended with an exit code, and with err or because of what
// verify found: in the schema kojisnap of the database, beside the ledger if there is one, and in the store, where
// the host that only applies finds how the pull ended, and other hosts how the environment is. A host that only
// pulls has the store alone. r may be of a sync that ended early. If one of them cannot be written, that is an
// error, and the others are still written. The record is also the result.
func RecordSync(ctx context.Context, s store.Store, o SyncOptions, r *SyncResult, started time.Time, exit int, err error) (SyncRecord, error) {
	noted := o.recordPull(ctx, s, r, exit, err)
	report := r.report(secret.Hide(s.String()), err)
	run := book.SyncRun{Started: started.UTC(), Finished: time.Now().UTC(), Exit: exit, Version: o.Load.Version, Who: book.Who()}
	if run.Snapshot, run.Event = r.Snapshot, r.Event; o.Only == OnlyPull {
		run.Version = programVersion(o.Pull)
	}
	switch trouble := report.Trouble(); {
	case exit == 0:
	case trouble != "":
		run.Error = trouble
	case err != nil:
		run.Error = shorten(oneline.Of(err).Error())
	}
	run.Error = secret.Hide(run.Error)
	if o.Only == OnlyPull {
		return SyncRecord{run, report}, noted
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	conn, lost := dbconn.Connect(ctx, o.Load.DSN)
	if lost == nil {
		defer conn.Close(context.WithoutCancel(ctx))
		if pin, err := status.ReadPin(ctx, conn); err == nil {
			report.Pin = pin.Event
		}
	}
	body, e := json.Marshal(report)
	if e != nil {
		return SyncRecord{run, report}, e
	}
	body = []byte(secret.Hide(string(body)))
	run.Report = bytes.ReplaceAll(body, []byte(`\u0000`), []byte(`\ufffd`)) // which no database holds
	if lost == nil {
		lost = book.RecordSync(ctx, conn, o.Load.Env, started, &run)
	}
	if lost != nil {
		lost = fmt.Errorf("the database does not remember this sync: %w", lost)
	}
	record := SyncRecord{run, report}
	if e := o.noteSync(ctx, s, run, report, r.Verify); !readOnly(e) { // the load has told that
		noted = errors.Join(noted, e)
	}
	return record, errors.Join(lost, recordInTopdir(o.Copy, record), noted)
}

// recordInTopdir writes the record beside the ledger. If there is no ledger, it writes nothing: either nothing
// was copied yet, or topdir is not mounted.
func recordInTopdir(o CopyOptions, record SyncRecord) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("topdir does not remember this sync: %w", err)
		}
	}()
	if _, err := os.Lstat(filepath.Join(o.Topdir, filepath.Dir(syncRecordFile))); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	top, err := topdir.Open(o.Topdir, "")
	if err != nil {
		return err
	}
	defer top.Close()
	top.SetAttributes(o.Attributes)
	if err := top.Mkdir(filepath.Dir(syncRecordFile)); err != nil { // it is no symlink
		return err
	}
	body, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return err
	}
	body = []byte(secret.Hide(string(body)))
	return durable.WriteFile(top.Join(syncRecordFile), func(w io.Writer) error {
		_, err := w.Write(append(body, '\n'))
		if f, ok := w.(*os.File); ok && err == nil {
			err = top.Own(f)
		}
		return err
	})
}

// ReadSyncReport reads the report in a database's record of a sync.
func ReadSyncReport(run book.SyncRun) (r SyncReport, err error) {
	err = json.Unmarshal(run.Report, &r)
	return r, err
}

// shorten cuts a text to a length that fits into a table.
func shorten(s string) string {
	if runes := []rune(s); len(runes) > 1000 {
		return string(runes[:1000]) + "…"
	}
	return s
}
