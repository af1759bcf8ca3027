package hardlink

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/source"
	"kojisnap/volumes"
)

// If production deletes a signature (koji's deleteRPMSig), the row goes, and so does the signed copy.
// Composes look for signed copies by path, without a row; so staging's copy has to go at once, too. A file
// goes if no row of the build names it, whatever its arch and key. If production still has the file, a
// symlink to it takes the place, as an audit would make one anyway. A file stays if a row names it and only
// the configured keys or arches no longer want it: a running compose may be about to link it.

// diffStale finds the stale files of wanted builds.
func (e *Engine) diffStale(ctx context.Context, a *Actions, plan volumes.Plan, known *ledger.Ledger) error {
	results := make([]Actions, len(plan.Staged))
	err := e.parallel(ctx, len(plan.Staged), func(_ context.Context, i int) error {
		s := plan.Staged[i]
		staged := s.Build
		staged.Volume = plan.CopyVolume
		dir, err := staged.Dir()
		if err != nil {
			return err
		}
		if b := known.Builds[dir]; b != nil {
			e.staleFiles(&results[i], s, dir, b, plan.Prod)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range results {
		a.Stale = append(a.Stale, results[i].Stale...)
		a.Kept = append(a.Kept, results[i].Kept...)
		for _, h := range results[i].Held {
			a.hold(h)
		}
	}
	return nil
}

// staleFiles finds the stale files of one build.
func (e *Engine) staleFiles(a *Actions, s volumes.StagedBuild, dir string, known *ledger.Build, prod string) {
	left := unplanned(known.Entries, s.Files)
	if len(left) > 0 { // in most builds, only symlinks to signed copies of unwanted arches and keys
		named := s.Signatures()
		left = slices.DeleteFunc(left, func(entry ledger.Entry) bool { return entry.Target != "" && named(entry.Path) })
	}
	if len(left) == 0 {
		return
	}
	all, ok := s.AllFiles()
	if !ok {
		return
	}
	for _, entry := range left {
		f := StaleFile{Build: known.Build, Dir: dir, Path: entry.Path, Bytes: entry.Size}
		switch named, same := namedBy(all, entry); {
		case same || named && entry.Target != "":
			continue
		case entry.Target != "" && !e.dangles(s.Build, entry.Path):
			continue
		case entry.Target == "": // where production still has the file, composes see it there, too
			f.Target = e.symlinkTo(s, entry.Path, prod)
		}
		_, why, err := e.lookAtStale(f, known)
		switch {
		case err != nil:
			a.hold(held("file", "", dir+"/"+entry.Path, err, notRemoved))
		case why != "":
			a.Kept = append(a.Kept, Kept{Path: dir + "/" + entry.Path, Why: why})
		default:
			a.Stale = append(a.Stale, f)
		}
	}
}

// lookAtStale reports whether a stale file exists, and why it stays; "": it is as the ledger has it, or gone.
func (e *Engine) lookAtStale(f StaleFile, known *ledger.Build) (there bool, why string, err error) {
	st, err := e.top.Lstat(f.Dir + "/" + f.Path)
	if source.Absent(err) {
		return false, "", nil
	}
	if err != nil {
		return false, "", err
	}
	_, ours, err := e.recorded(f.Dir, f.Path, st, known)
	if err == nil && !ours {
		why = "production does not have it any longer, but it is staging's own, or was changed"
	}
	return true, why, err
}

// unplanned returns the entries of a build that are not in the plan: files, and symlinks in the places of
// signed copies and signature headers, one entry for each path. Both arguments are sorted by path.
func unplanned(entries []ledger.Entry, files []volumes.File) (left []ledger.Entry) {
	next := 0
	for _, entry := range entries {
		for next < len(files) && files[next].Path < entry.Path {
			next++
		}
		signature := strings.HasPrefix(entry.Path, "data/signed/") || strings.HasPrefix(entry.Path, "data/sigcache/")
		switch last := len(left) - 1; {
		case entry.Absent || entry.Target != "" && !signature:
		case next < len(files) && files[next].Path == entry.Path || inSubdir(files, entry.Path):
		case last >= 0 && left[last].Path == entry.Path: // a kill left two entries of this path
			if entry.Target == "" {
				left[last] = entry
			}
		default:
			left = append(left, entry)
		}
	}
	return left
}

// inSubdir reports whether a path may be that of a planned file whose directory is unknown.
func inSubdir(files []volumes.File, path string) bool {
	return strings.HasPrefix(path, "files/") && slices.ContainsFunc(files, func(f volumes.File) bool {
		return f.SubdirUnknown && f.Matches(path)
	})
}

// namedBy reports whether rows name the path of an entry, and whether with the same content. If the directory
// is unknown, the content counts as the same.
func namedBy(all []volumes.File, entry ledger.Entry) (named, same bool) {
	if inSubdir(all, entry.Path) {
		return true, true
	}
	i, named := slices.BinarySearchFunc(all, entry.Path, func(f volumes.File, path string) int { return strings.Compare(f.Path, path) })
	return named, named && entry.Target == "" && entry.MadeOf(&all[i])
}

// symlinkTo returns the target of a symlink to production's file, or "" if production does not have the file.
func (e *Engine) symlinkTo(s volumes.StagedBuild, file, prod string) string {
	if e.opts.ReadOnly == "" || e.tree.IsAway(s.Build) {
		return ""
	}
	for i, dir := range source.Dir(e.opts.ReadOnly).BuildDirs(s.Build) {
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			continue
		}
		if i > 0 { // production has moved the build: its own symlink leads there
			return e.target(prod, s.Build, file)
		}
		return e.target(s.SourceVolume, s.Build, file)
	}
	return ""
}

// dangles reports whether production's tree is here and lacks a file.
func (e *Engine) dangles(b volumes.Build, file string) bool {
	if e.opts.ReadOnly == "" || e.tree.IsAway(b) {
		return false
	}
	_, err := source.Dir(e.opts.ReadOnly).Stat(b, file)
	return source.Absent(err)
}

// removeStale removes the stale files that are still as the ledger has them, with their entries. A kill
// leaves entries of files that are gone: the next run finds them stale again.
func (r *run) removeStale(ctx context.Context, files []StaleFile) error {
	if len(files) == 0 {
		return nil
	}
	counter := r.opts.Progress.Begin("remove files", int64(len(files)))
	defer counter.End()
	var going []StaleFile
	var intent ledger.Batch // a symlink is in the ledger before it is made
	for _, f := range files {
		known := r.known.Builds[f.Dir]
		if known == nil {
			continue // removed meanwhile
		}
		there, why, err := r.lookAtStale(f, known)
		switch {
		case err != nil:
			r.staleStays(f, err)
		case why != "":
			r.report.Kept = append(r.report.Kept, Kept{Path: f.Dir + "/" + f.Path, Why: why})
		case !there:
			f.Target = ""
			going = append(going, f)
		default:
			going = append(going, f)
		}
		if f.Target != "" && there && why == "" && err == nil {
			intent.Build(f.Build)
			intent.Entry(ledger.Entry{Path: f.Path, Target: f.Target})
		}
	}
	if err := r.ledger.Append(&intent); err != nil {
		return err
	}
	gone := map[string]map[string]string{} // by directory and path: target of the symlink in the file's place
	var dirs []string
	for _, f := range going {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := r.removeFile(f)
		if err != nil && !ofOne(ctx, err) {
			return err
		}
		counter.Add(1)
		if err != nil {
			r.staleStays(f, err)
			continue
		}
		if gone[f.Dir] == nil {
			gone[f.Dir] = map[string]string{}
			dirs = append(dirs, f.Dir)
		}
		gone[f.Dir][f.Path] = f.Target
	}
	if err := r.top.Sync(); err != nil {
		return err
	}
	var after ledger.Batch
	for _, dir := range dirs {
		left := *r.known.Builds[dir]
		left.Entries = nil
		for _, entry := range r.known.Builds[dir].Entries {
			if _, ok := gone[dir][entry.Path]; !ok {
				left.Entries = append(left.Entries, entry)
			}
		}
		for _, path := range slices.Sorted(maps.Keys(gone[dir])) {
			if target := gone[dir][path]; target != "" {
				left.Entries = append(left.Entries, ledger.Entry{Path: path, Target: target})
			}
		}
		after.Rewrite(&left)
	}
	return r.ledger.Append(&after)
}

// removeFile removes a stale file, or replaces it by a symlink in one step. Its directory stays even if it is
// empty: staging's hub may be about to use it.
func (r *run) removeFile(f StaleFile) error {
	path := f.Dir + "/" + f.Path
	if f.Target == "" {
		err := r.top.Remove(path)
		if source.Absent(err) {
			return nil
		}
		if err == nil {
			r.report.Stale++
		}
		return err
	}
	temp := r.tempName()
	if err := r.top.Symlink(f.Target, temp); err != nil {
		return err
	}
	if err := r.top.Rename(temp, path); err != nil {
		return err
	}
	r.report.Stale++
	return nil
}

func (r *run) staleStays(f StaleFile, err error) {
	r.broken = append(r.broken, held("file", "", f.Dir+"/"+f.Path, err, notRemoved))
}
