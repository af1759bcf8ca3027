package verify

import (
	"context"
	"errors"
	"fmt"
	"kojisnap/kojisnap/compose"
	"maps"
	"slices"
	"syscall"
)

// files makes the checks that look at files.
func (v *verifier) files(ctx context.Context) error {
	var err error
	switch {
	case v.back != nil:
		v.add(Check{Name: "files", Status: StatusSkipped, Detail: fmt.Sprintf("those that are copied are for event %d", v.back.latest)}, StatusFailed)
	case v.Topdir == "":
		v.add(Check{Name: "files", Status: StatusSkipped, Detail: "no topdir given"}, StatusFailed)
	default:
		err = v.belowTopdir(ctx)
	}
	if err == nil {
		err = v.checkTopURL(ctx)
	}
	return err
}

func (v *verifier) belowTopdir(ctx context.Context) error {
	if err := v.readFiles(ctx); err != nil {
		return err
	}
	v.eachTag(v.checkFiles)
	v.eachTag(v.checkSources)
	if err := v.checkModuleFiles(ctx); err != nil {
		return err
	}
	if err := v.checkNamedArchives(ctx); err != nil {
		return err
	}
	dir, linkable, remove := v.checkLinks()
	defer remove()
	v.eachTag(v.checkPlacement)
	if dir == "" {
		return ctx.Err()
	}
	full := v.checkRoom(dir)
	if v.ComposeDir == "" {
		return nil
	}
	return v.checkTrial(ctx, linkable, full)
}

// eachTag calls check for the tags that staging has, and for the builds that were asked for by name.
func (v *verifier) eachTag(check func(tag string, l *listing)) {
	for _, tag := range append(slices.Clone(v.Want.Tags), byName) {
		if l := v.listings[tag]; l != nil {
			check(tag, l)
		}
	}
}

// checkFiles reports the files of a tag by arch, and apart from them the rpms of which production has
// no copy that a compose may take.
func (v *verifier) checkFiles(tag string, l *listing) {
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

// checkSources looks for the source rpm of each build: composes take from it for which arches
// a noarch rpm is, and put it into the source repository. Pungi only warns where there is none.
func (v *verifier) checkSources(tag string, l *listing) {
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
		case s != nil && (s.none || s.away): // told of already
		case s == nil:
			c.bad("%s: has no source rpm", b.nvr())
		case s.err != nil:
			c.bad("%s: %v", b.nvr(), s.err)
			status = StatusFailed
		}
	}
	v.add(c, status)
}

// checkPlacement counts the rpms that a compose has to copy because they lie on production's
// volume.
func (v *verifier) checkPlacement(tag string, l *listing) {
	c := checkOf("placement", tag)
	var bytes int64
	for i := range l.rpms {
		r := &l.rpms[i]
		s := v.states[r.id]
		if s == nil || s.err != nil {
			continue
		}
		c.Count++
		// Where production's tree is on the same mount, links work.
		if !v.local(s.class.volume) && errors.Is(v.classes[s.class].err, syscall.EXDEV) {
			bytes += s.size
			c.bad("%s: on volume %s", r.nvra(), s.class.volume)
		}
	}
	if c.Bad > 0 {
		c.Detail = fmt.Sprintf("rpms (%d bytes) are readable on production's volume, which is another mount: a compose copies them", bytes)
	}
	status := StatusWarning
	if v.Builds == compose.BuildsNone {
		status = StatusOK // as wanted
	}
	v.add(c, status)
}
