package tell

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/hardlink"
	"kojisnap/hardlink/source"
	"kojisnap/kojisnap"
)

// Undecided writes a line for each package filter that could not be evaluated, and returns an error if there are
// any.
func (t Reporter) Undecided(r *kojisnap.CopyResult) error {
	if r == nil || len(r.Undecided) == 0 {
		return nil
	}
	for _, u := range r.Undecided {
		t.Complain(u.String())
		t.Log.Info("packages that the filter decides about", "filter", u.Filter, "packages", strings.Join(u.Packages, " "))
	}
	return exit.AsNotReady(exit.Reported(errors.New("package filters could not be evaluated")))
}

// LeftOut writes a line for each thing that was kept back, and one about the consequence of missing files. It
// returns err as one that has been reported.
func (t Reporter) LeftOut(err error) error {
	if err == nil {
		return nil
	}
	said := exit.Messages(err)
	if left := (*hardlink.LeftOutError)(nil); t.Verbose && errors.As(err, &left) {
		said = output.Lines(left.All())
	}
	for _, line := range said {
		t.Complain(line)
	}
	if errors.As(err, new(*source.MissingError)) || errors.As(err, new(*source.Error)) {
		t.Complain("builds that lack such a file stay on the read-only volume")
	}
	return exit.Reported(err)
}

// Copy logs what a copy did, or would do.
func (t Reporter) Copy(r *kojisnap.CopyResult) {
	for _, k := range r.Actions.Kept {
		t.Kept(k)
	}
	t.Damaged(r)
	for _, l := range r.Actions.Links {
		if l.Mend {
			t.Log.Warn("DEFAULT's symlink of a build was gone, as a delete or move in Koji leaves it that fails on the read-only volume: it is made again", "path", l.Path)
		}
	}
	for _, s := range r.Actions.Strays {
		if s.Keep != "" {
			t.Log.Warn("a directory of a build that the database has on another volume, probably left by a failed move: look at it, and remove it if that is so", "path", s.Path, "volume", s.Volume, "why", s.Keep)
		} else {
			t.Log.Warn("a copy of production's files that a move in Koji left when it failed: it is removed", "path", s.Path, "files", s.Files, "bytes", s.Bytes)
		}
	}
	for _, n := range r.Actions.Nowhere {
		switch {
		case n.Builds == 0:
		case n.Said:
			t.Log.Info(n.String())
		case n.Wanted == 0: // otherwise LeftOut reports it
			t.Log.Warn(n.String())
		}
	}
	if t.DryRun {
		return
	}
	rep := r.Report
	t.Line("%s", copiedText(rep))
	if n := len(r.Actions.Own); n > 0 {
		t.Log.Warn("owners and modes were not as they are to be: they are put right", "paths", n, "first", r.Actions.Own[0].String())
		for _, o := range r.Actions.Own[1:] {
			t.Log.Info("put right, too", "path", o.String())
		}
	}
	if rep.Adopted > 0 {
		t.Line("%d of the files present were not in the ledger", rep.Adopted)
	}
	if n := rep.Leaving + rep.Grace; n > 0 {
		t.Line("%d builds that nothing needs any longer are kept for now", n)
	}
}

// copiedText says what a copy made.
func copiedText(rep hardlink.Report) string {
	made := rep.Linked + rep.Reflinked + rep.Copied + rep.Spliced + rep.Fetched
	return fmt.Sprintf("%d files present, %d made (%d hard links, %d reflinks, %d copies, %d spliced, %d fetched), %d bytes, %d links",
		rep.Present, made, rep.Linked, rep.Reflinked, rep.Copied, rep.Spliced, rep.Fetched, rep.Bytes, rep.Links)
}

// removedText says what a removal removed.
func removedText(rep hardlink.Report) string {
	return fmt.Sprintf("%d builds removed (%d files, %d bytes) and %d symlinks; %d builds are kept for now", rep.Removed, rep.RemovedFiles,
		rep.RemovedBytes, rep.RemovedLinks, rep.Grace)
}

// Kept logs a file that is not as planned and stays.
func (t Reporter) Kept(k hardlink.Kept) {
	if k.Wanted {
		t.Log.Warn("in the place of what a compose needs; remove it and run copy --audit, or let it stay", "path", k.Path, "why", k.Why)
	} else {
		t.Log.Info("not as planned, and not ours: it stays", "path", k.Path, "why", k.Why)
	}
}

// Damaged logs the damaged copies, which are made again.
func (t Reporter) Damaged(r *kojisnap.CopyResult) {
	for _, d := range r.Actions.Damaged {
		t.Log.Warn("a copy is damaged: it is made again", "path", d.Path, "why", d.Why)
	}
}

// Removal logs what became of builds that no compose needs.
func (t Reporter) Removal(r *kojisnap.CopyResult) {
	for _, k := range append(r.Actions.Kept, r.Report.Kept...) {
		t.Log.Info("not wanted any longer, but it stays", "path", k.Path, "why", k.Why)
	}
	t.Line("%s", removedText(r.Report))
	if n := r.Report.Stale; n > 0 {
		t.Line("%d single files removed that production no longer has", n)
	}
}

// Repair logs what the copy after verify found that the first one did not.
func (t Reporter) Repair(r *kojisnap.SyncResult) {
	if r.Repair == nil {
		return
	}
	t.Damaged(r.Repair)
	for _, k := range r.Repair.Actions.Kept {
		if !slices.Contains(r.Copy.Actions.Kept, k) {
			t.Kept(k)
		}
	}
}
