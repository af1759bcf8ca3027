package report

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kojisnap/dbsync/book"
	"kojisnap/hardlink/ledger"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/oneline"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/verify"
)

// Input is where the facts of an environment come from.
type Input struct {
	Env    string
	Status *kojisnap.StagingStatus
	// Syncs are the history of syncs, the latest first; Syncs[Checked] has what verify found.
	Syncs   []book.SyncRun
	Checked int         // -1: none has
	Store   store.Store // nil: what changed is not known
	Topdir  string      // empty: what was copied and what room is left are not known
	Config  []ConfigKey
}

// Collect finds the facts of an environment. What cannot be found out is one of its Troubles.
func Collect(ctx context.Context, in Input) Env {
	s := in.Status
	e := Env{Name: in.Env, Verdict: s.Judge(), Database: s.Mark.Database, Event: s.Event, EventTime: s.EventTime,
		History: s.History, Drift: s.Drift, Events: s.Events, Own: ownOf(s), Config: in.Config}
	if run := s.LastSuccess; run != nil {
		e.Hub, e.Snapshot = run.Hub, run.Snapshot
	}
	if s.Whole() && s.LastGoodSync != nil || !s.Whole() && s.LastSuccess != nil {
		e.Success = s.Now.Add(-s.Age()) // else that is the age of the mark
	}
	if s.Drift != nil && s.Drift.Error != "" {
		e.trouble("how far staging is behind the store", fmt.Errorf("%s", s.Drift.Error))
	}
	e.readSyncs(in, s)
	e.tellOverdue()
	if in.Store != nil && s.LastSuccess != nil {
		changes, err := changesOf(ctx, in.Store, s.LastSuccess)
		if e.Changes = changes; err != nil {
			e.trouble("what the last sync changed", err)
		}
	}
	if e.Files.Topdir = in.Topdir; in.Topdir != "" {
		if err := e.Files.look(); err != nil {
			e.trouble("what is below topdir", err)
		}
	}
	return e
}

// Unknown is an environment whose database cannot be read.
func Unknown(env string, err error, config []ConfigKey) Env {
	return Env{Name: env, Config: config, Verdict: kojisnap.UnknownVerdict(oneline.Of(err).Error(),
		"Correct what the message names; kojisnap doctor checks the installation.")}
}

func (e *Env) trouble(what string, err error) {
	e.Troubles = append(e.Troubles, what+" is not known: "+oneline.Of(err).Error())
}

// tellOverdue adds to the verdict that syncs were missed: a record that says ready is only as good as it is young.
func (e *Env) tellOverdue() {
	if e.Overdue == 0 {
		return
	}
	what := fmt.Sprintf("%d scheduled syncs were missed", e.Overdue)
	if e.Overdue == 1 {
		what = "a scheduled sync was missed"
	}
	e.Verdict.Text += "; " + what
	e.Verdict.Causes = append(e.Verdict.Causes, kojisnap.Cause{
		What: fmt.Sprintf("Syncs began every %s; since the last one %s.", duration(float64(e.Every)), what),
		Cure: "Look at the timer or the cron job that starts kojisnap sync."})
}

// look reads the ledger below topdir, and what room is left there.
func (f *Files) look() error {
	l, err := ledger.Read(f.Topdir)
	if err != nil {
		return err
	}
	f.count(l)
	err = ledger.EachShard(context.Background(), f.Topdir, func(_ string, l *ledger.Ledger) error { f.count(l); return nil })
	if err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(f.Topdir, &st); err != nil {
		return fmt.Errorf("room on %s: %w", f.Topdir, err)
	}
	f.Free, f.Room = int64(st.Bavail)*st.Bsize, int64(st.Blocks)*st.Bsize
	return nil
}

// count adds the builds of a ledger.
func (f *Files) count(l *ledger.Ledger) {
	for _, b := range l.Builds {
		if b.Unwanted != 0 {
			f.Grace++
		}
		f.Builds++
		for _, entry := range b.Entries {
			if entry.Target == "" && !entry.Absent {
				f.Copies++
				f.Bytes += entry.Size
			}
		}
	}
}

// ownOf lists what staging has of its own.
func ownOf(s *kojisnap.StagingStatus) []Own {
	var all []Own
	add := func(kind, consequence string, n int, line func(i int) string) {
		if n == 0 {
			return
		}
		o := Own{Kind: kind, Consequence: consequence, Total: n}
		for i := range min(n, MaxRows) {
			o.Entries = append(o.Entries, line(i))
		}
		all = append(all, o)
	}
	entries := func(list []book.Entry) func(i int) string {
		return func(i int) string {
			return strings.TrimSpace(list[i].Relation + " " + list[i].Key + ": " + list[i].What)
		}
	}
	add("conflicts", "Staging had the place first, so production's row is not loaded, and composes do not see it. Rename or remove staging's, and the next load brings production's.",
		len(s.Conflicts), entries(s.Conflicts))
	add("hidden", "Staging's build stays the latest in the tag although production tagged another one later: composes that are not pinned take staging's. Those that are pinned at a loaded event take production's.",
		len(s.Hidden), func(i int) string {
			h := s.Hidden[i]
			return fmt.Sprintf("%s: staging's %s, tagged %s, hides production's %s, tagged %s", h.Tag, h.Staging, minute(h.Since), h.Production, minute(h.Tagged))
		})
	add("decisions", "Staging changed these itself, and loads leave that alone. Calls that are pinned at a loaded event answer as production does all the same.",
		len(s.Decisions), func(i int) string { return s.Decisions[i].String() })
	add("kept", "Koji edits these rows in place, and staging's edit stays: all calls see staging's, pinned or not.",
		len(s.Kept), entries(s.Kept))
	add("left out", "These rows refer to rows that are not loaded, or staging's schema cannot hold them. Each load tries them again.",
		len(s.LeftOut), entries(s.LeftOut))
	return all
}

// cells returns all checks that a sync's report has, in the order of the page: by tag and arch, then as verify makes
// them.
func cells(r kojisnap.SyncReport) []Cell {
	var all []Cell
	for i, c := range r.Checks {
		all = append(all, Cell{Name: c.Name, Tag: c.Tag, Arch: c.Arch, Status: c.Status, Count: c.Count, Bad: c.Bad, Detail: detailOf(c),
			Cure: kojisnap.CheckCure(c.Name), Entries: r.All(i)})
	}
	for name, tags := range r.Passed {
		for tag, arches := range tags {
			for arch, n := range arches {
				all = append(all, Cell{Name: name, Tag: tag, Arch: arch, Status: "ok", Count: n})
			}
		}
	}
	slices.SortFunc(all, compareCells)
	return all
}

// detailOf is the detail of a check without the counts at its beginning.
func detailOf(c verify.Check) string {
	counts := fmt.Sprint(c.Count)
	if c.Bad > 0 {
		counts = fmt.Sprintf("%d of %d", c.Bad, c.Count)
	}
	if rest, ok := strings.CutPrefix(c.Detail, counts); ok && (rest == "" || strings.HasPrefix(rest, ": ")) {
		return strings.TrimPrefix(rest, ": ")
	}
	return c.Detail
}
