package main

import (
	"errors"
	"fmt"
	"strings"

	"kojisnap/hardlink"
	"kojisnap/hardlink/source"
	"kojisnap/kojisnap"
)

// tellUndecided writes a line for each package filter that could not be evaluated, and returns an error if there are
// any.
func (a reporter) tellUndecided(r *kojisnap.CopyResult) error {
	if r == nil || len(r.Undecided) == 0 {
		return nil
	}
	for _, u := range r.Undecided {
		a.complain(u.String())
		a.log.Info("packages that the filter decides about", "filter", u.Filter, "packages", strings.Join(u.Packages, " "))
	}
	return notReadyError{quietError{errors.New("package filters could not be evaluated")}}
}

// tellLeftOut writes a line for each thing that was kept back, and one about the consequence of missing files. It
// returns err as one that has been reported.
func (a reporter) tellLeftOut(err error) error {
	if err == nil {
		return nil
	}
	said := messages(err)
	if left := (*hardlink.LeftOutError)(nil); a.verbose && errors.As(err, &left) {
		said = cleanLines(left.All())
	}
	for _, line := range said {
		a.complain(line)
	}
	if errors.As(err, new(*source.MissingError)) || errors.As(err, new(*source.Error)) {
		a.complain("builds that lack such a file stay on the read-only volume")
	}
	return quietError{err}
}

// tellCopy logs what a copy did, or would do.
func (a reporter) tellCopy(r *kojisnap.CopyResult) {
	for _, k := range r.Actions.Kept {
		a.tellKept(k)
	}
	a.tellDamaged(r)
	for _, l := range r.Actions.Links {
		if l.Mend {
			a.log.Warn("DEFAULT's symlink of a build was gone, as a delete or move in Koji leaves it that fails on the read-only volume: it is made again", "path", l.Path)
		}
	}
	for _, s := range r.Actions.Strays {
		if s.Keep != "" {
			a.log.Warn("a directory of a build that the database has on another volume, probably left by a failed move: look at it, and remove it if that is so", "path", s.Path, "volume", s.Volume, "why", s.Keep)
		} else {
			a.log.Warn("a copy of production's files that a move in Koji left when it failed: it is removed", "path", s.Path, "files", s.Files, "bytes", s.Bytes)
		}
	}
	for _, n := range r.Actions.Nowhere {
		switch {
		case n.Builds == 0:
		case n.Said:
			a.log.Info(n.String())
		case n.Wanted == 0: // otherwise tellLeftOut reports it
			a.log.Warn(n.String())
		}
	}
	if a.dryRun {
		return
	}
	rep := r.Report
	a.tell("%s", copiedText(rep))
	if n := len(r.Actions.Own); n > 0 {
		a.log.Warn("owners and modes were not as they are to be: they are put right", "paths", n, "first", r.Actions.Own[0].String())
		for _, o := range r.Actions.Own[1:] {
			a.log.Info("put right, too", "path", o.String())
		}
	}
	if rep.Adopted > 0 {
		a.tell("%d of the files present were not in the ledger", rep.Adopted)
	}
	if n := rep.Leaving + rep.Grace; n > 0 {
		a.tell("%d builds that nothing needs any longer are kept for now", n)
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

// tellKept logs a file that is not as planned and stays.
func (a reporter) tellKept(k hardlink.Kept) {
	if k.Wanted {
		a.log.Warn("in the place of what a compose needs; remove it and run copy --audit, or let it stay", "path", k.Path, "why", k.Why)
	} else {
		a.log.Info("not as planned, and not ours: it stays", "path", k.Path, "why", k.Why)
	}
}

// tellDamaged logs the damaged copies, which are made again.
func (a reporter) tellDamaged(r *kojisnap.CopyResult) {
	for _, d := range r.Actions.Damaged {
		a.log.Warn("a copy is damaged: it is made again", "path", d.Path, "why", d.Why)
	}
}

// tellRemoval logs what became of builds that no compose needs.
func (a reporter) tellRemoval(r *kojisnap.CopyResult) {
	for _, k := range append(r.Actions.Kept, r.Report.Kept...) {
		a.log.Info("not wanted any longer, but it stays", "path", k.Path, "why", k.Why)
	}
	a.tell("%s", removedText(r.Report))
	if n := r.Report.Stale; n > 0 {
		a.tell("%d single files removed that production no longer has", n)
	}
}
