package hardlink

import (
	"context"
	"maps"
	"slices"

	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/source"
)

// removeStale removes the stale files that are still as the ledger has them, and has the ledger forget them. A kill
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
	gone := map[string]map[string]string{} // by directory and path: what the symlink in its place says
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

// removeFile removes a stale file, or puts a symlink in its place, at once. Its directory stays, even if it is empty:
// staging's hub may be about to use it.
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
