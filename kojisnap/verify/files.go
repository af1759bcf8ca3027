package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// fileChecks look at the files that composes take.
type fileChecks struct {
	copyFinder
	states  map[int64]*fileState    // by rpm id
	classes map[fileClass]*linkable // of files that are there
	clone   cloneFinder
}

func newFileChecks(v *verifier) *fileChecks {
	return &fileChecks{copyFinder: copyFinder{v}, states: map[int64]*fileState{}, classes: map[fileClass]*linkable{}}
}

// checkTopdir makes the checks that look at files below topdir.
func (v *fileChecks) checkTopdir(ctx context.Context) error {
	switch {
	case v.back != nil:
		v.add(Check{Name: "files", Status: StatusSkipped, Detail: fmt.Sprintf("those that are copied are for event %d", v.back.latest)}, StatusFailed)
		return nil
	case v.Topdir == "":
		v.add(Check{Name: "files", Status: StatusSkipped, Detail: "no topdir given"}, StatusFailed)
		return nil
	}
	v.clone = v.findClone()
	if err := v.readFiles(ctx); err != nil {
		return err
	}
	v.checkClone()
	v.eachListing(v.checkFiles)
	v.eachListing(v.checkSources)
	if err := v.checkModuleFiles(ctx); err != nil {
		return err
	}
	if err := v.checkNamedArchives(ctx); err != nil {
		return err
	}
	links := linkChecks{v}
	dir, linkable, remove := links.checkLinks()
	defer remove()
	v.eachListing(links.checkPlacement)
	if dir == "" {
		return ctx.Err()
	}
	full := links.checkRoom(dir)
	if v.ComposeDir == "" {
		return nil
	}
	return links.checkTrial(ctx, linkable, full)
}

// checkFiles reports the files of a tag by arch, and apart from these the rpms without a copy in production that a
// compose may take, and those on volumes that this site never mounts.
func (v *fileChecks) checkFiles(tag string, l *listing) {
	checks := map[string]*Check{}
	none, away := checkOf("signed copies", tag), checkOf("unmounted volumes", tag)
	for i := range l.rpms {
		r := &l.rpms[i]
		s := v.states[r.id]
		if s == nil {
			continue
		}
		none.Count++
		away.Count++
		if s.away {
			away.Detail = "rpms that a compose cannot take: this site does not have their volume, as unmounted says"
			away.bad("%s: on volume %s", r.nvra(), r.build.volume)
			continue
		}
		if s.none {
			none.Detail = "rpms: " + s.err.Error()
			none.bad("%s", r.nvra())
			continue
		}
		c := checks[r.arch]
		if c == nil {
			of := checkOf("files", tag)
			of.Arch, c = r.arch, &of
			checks[r.arch] = c
		}
		c.Count++
		if s.err != nil {
			c.bad("%s: %v", r.nvra(), s.err)
			if s.digest {
				c.Digests++
			}
		}
	}
	for _, arch := range slices.Sorted(maps.Keys(checks)) {
		v.add(*checks[arch], StatusFailed)
	}
	if none.Bad > 0 {
		v.add(none, StatusFailed)
	}
	if away.Bad > 0 {
		v.add(away, StatusWarning)
	}
}

// checkSources looks for the source rpm of each build. Composes put it into the source repository, and read in it
// for which arches a noarch rpm is. Pungi only warns if there is none.
func (v *fileChecks) checkSources(tag string, l *listing) {
	builds, sources := map[*taggedBuild]bool{}, map[*taggedBuild]*fileState{}
	for i := range l.rpms {
		r := &l.rpms[i]
		switch s := v.states[r.id]; {
		case s == nil:
		case r.source():
			sources[r.build] = s
		default:
			builds[r.build] = true
		}
	}
	c := checkOf("sources", tag)
	c.Count = len(builds)
	status := StatusWarning
	for b := range builds {
		switch s := sources[b]; {
		case s != nil && (s.none || s.away): // reported by checkFiles
		case s == nil:
			c.bad("%s: has no source rpm", b.nvr())
		case s.err != nil:
			c.bad("%s: %v", b.nvr(), s.err)
			status = StatusFailed
		}
	}
	v.add(c, status)
}
