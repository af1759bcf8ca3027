package kojisnap

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"kojisnap/kojisnap/tagged"
	"kojisnap/volumes"
)

// checkNamedArchives looks at the archives of the builds that were asked for by name: of those there is the file
// that the plan of files has, a regular one, so that it can be linked. Their rpms are looked at with
// the tags'.
func (v *verifier) checkNamedArchives(ctx context.Context) error {
	if v.named == nil || len(v.named.builds) == 0 {
		return nil
	}
	planned, err := v.planNamed(ctx, v.named)
	if err != nil {
		return err
	}
	c, away := checkOf("archive files", byName), checkOf("unmounted volumes", byName)
	for _, h := range planned.Held {
		c.Count++
		c.bad("%s: %s", h.Name, h.Reason)
	}
	type archive struct {
		build *volumes.StagedBuild
		file  volumes.File
		state fileState
	}
	var files []archive
	for i := range planned.Staged {
		for _, f := range planned.Staged[i].Files {
			files = append(files, archive{build: &planned.Staged[i], file: f})
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(v.Jobs)
	for i := range files {
		g.Go(func() error {
			return v.user.Do(func() error {
				files[i].state = v.lookArchive(files[i].build.Build, files[i].file)
				return gctx.Err()
			})
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, a := range files {
		c.Count++
		switch s := a.state; {
		case s.err == nil:
			v.class(&s)
		case v.unmounted(a.build.Build.Volume):
			c.Count--
			away.bad("%s: %s, on volume %s", a.build.Build.NVR(), a.file.Path, a.build.Build.Volume)
		default:
			c.bad("%s: %v", a.build.Build.NVR(), s.err)
			if s.digest {
				c.Digests++
			}
			if s.wanted != "" && a.build.Build.Volume == v.CopyVolume {
				v.result.suspects = append(v.result.suspects, s.wanted)
			}
		}
	}
	if c.Count+c.Bad > 0 {
		v.add(c, StatusFailed)
	}
	if away.Count = away.Bad; away.Bad > 0 {
		away.Detail = "archives that a compose cannot take: this site does not have their volume, as unmounted says"
		v.add(away, StatusWarning)
	}
	return nil
}

// planNamed plans the archives of builds; their volumes are staging's.
func (v *verifier) planNamed(ctx context.Context, there *listing) (volumes.Plan, error) {
	builds := map[int64]*volumes.BuildFiles{}
	for id, b := range there.builds {
		builds[id] = &volumes.BuildFiles{Build: volumes.Build{Name: b.name, Version: b.version, Release: b.release, Volume: b.volume}}
	}
	if err := addArchives(ctx, v.Snapshot, builds, func(tagged.Row) {}); err != nil {
		return volumes.Plan{}, err
	}
	var in volumes.Input
	for _, b := range builds {
		in.Builds = append(in.Builds, *b)
	}
	return volumes.NewPlan(in, volumes.Want{CopyVolume: v.CopyVolume})
}

// lookArchive looks at a build's archive. One that a content generator put into a subdirectory, which no
// database names, is the one there that is as it is to be.
func (v *verifier) lookArchive(b volumes.Build, f volumes.File) fileState {
	dir, err := b.Dir()
	if err != nil {
		return fileState{err: err}
	}
	c := candidate{dir: dir, file: f}
	first := v.examine(filepath.Join(v.Topdir, dir, f.Path), c, b.Volume)
	first.wanted = dir + "/" + f.Path
	if first.err == nil || !f.SubdirUnknown {
		return first
	}
	for _, at := range below(filepath.Join(v.Topdir, dir), f) {
		if at == f.Path {
			continue
		}
		s := v.examine(filepath.Join(v.Topdir, dir, at), c, b.Volume)
		s.wanted = dir + "/" + at
		if s.err == nil || errors.Is(first.err, fs.ErrNotExist) {
			first = s
		}
		if s.err == nil {
			break
		}
	}
	return first
}

// below are the places below a build's directory where a file can be.
func below(dir string, f volumes.File) (places []string) {
	top := filepath.Join(dir, filepath.Dir(f.Path))
	// What cannot be read is not there: that is told of the file.
	_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if at := strings.TrimPrefix(path, dir+string(os.PathSeparator)); f.Matches(at) {
			places = append(places, at)
		}
		return nil
	})
	slices.Sort(places)
	return places
}
