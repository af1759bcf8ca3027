package hardlink

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"kojisnap/volumes"
)

// DiffRemove computes what can go: builds on the copy volume and symlinks that this
// tool made and the plan does not have. Of a build that staging has changed a file
// of, or put one into, nothing goes.
func (e *Engine) DiffRemove(ctx context.Context, plan volumes.Plan) (Actions, error) {
	if _, err := e.checkTree(plan); err != nil { // what goes must be there on the read-only volume
		return Actions{}, err
	}
	ledger, err := ReadLedger(e.top.Path())
	if err != nil {
		return Actions{}, err
	}
	a := Actions{CopyVolume: plan.CopyVolume}
	wanted := map[string]bool{}
	for _, s := range plan.Staged {
		s.Build.Volume = plan.CopyVolume
		dir, err := s.Build.Dir()
		if err != nil {
			return Actions{}, err
		}
		wanted[dir] = true
	}
	for _, dir := range slices.Sorted(maps.Keys(ledger.Builds)) {
		if err := ctx.Err(); err != nil {
			return Actions{}, err
		}
		if wanted[dir] {
			continue
		}
		b := ledger.Builds[dir]
		why, err := e.touched(dir, b)
		if err != nil {
			return Actions{}, err
		}
		if why != "" {
			a.Kept = append(a.Kept, Kept{dir, why})
			continue
		}
		r := RemoveAction{Build: b.Build, Dir: dir, Files: len(b.Entries)}
		for _, entry := range b.Entries {
			r.Bytes += entry.Size
		}
		a.Remove = append(a.Remove, r)
	}
	links := map[string]bool{"vol/" + plan.Prod: true}
	for _, v := range plan.Volumes {
		links["vol/"+v.Name] = true
	}
	for _, b := range plan.Linked {
		link, _, err := b.Link()
		if err != nil {
			return Actions{}, err
		}
		links[link] = true
	}
	for _, l := range slices.Sorted(maps.Keys(ledger.Links)) {
		// The volumes that links of staging's own builds may lead through stay.
		if !links[l] && !strings.HasPrefix(l, "vol/") {
			a.RemoveLinks = append(a.RemoveLinks, volumes.Link{Path: l, Target: ledger.Links[l][len(ledger.Links[l])-1]})
		}
	}
	return a, nil
}

// touched says what keeps a build that the ledger knows from being removed: "" if
// everything in it is as this tool left it, or is not there.
func (e *Engine) touched(dir string, b *LedgerBuild) (string, error) {
	var walk func(sub string) (string, error)
	walk = func(sub string) (string, error) {
		list, err := e.top.ReadDir(path.Join(dir, sub))
		if absent(err) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		for _, d := range list {
			p := path.Join(sub, d.Name())
			if d.IsDir() {
				if why, err := walk(p); why != "" || err != nil {
					return why, err
				}
				continue
			}
			st, err := e.top.Lstat(dir + "/" + p)
			if err != nil {
				return "", err
			}
			_, ours, err := e.recorded(dir, p, st, b)
			if err != nil {
				return "", err
			}
			if !ours {
				return fmt.Sprintf("%q in it is staging's own, or was changed", p), nil
			}
		}
		return "", nil
	}
	return walk("")
}
