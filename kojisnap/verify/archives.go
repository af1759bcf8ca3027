package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"kojisnap/hardlink/content"
	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/tagged"
	"kojisnap/volumes"
)

// checkNamedArchives looks at the archives of the builds that were asked for by name: each must be the file that
// the plan of files has, and a regular one, so that it can be linked. Their rpms are checked with the tags'.
func (v *fileChecks) checkNamedArchives(ctx context.Context) error {
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
			v.count(&s)
		case v.unmounted(a.build.Build.Volume):
			c.Count--
			away.bad("%s: %s, on volume %s", a.build.Build.NVR(), a.file.Path, a.build.Build.Volume)
		default:
			c.bad("%s: %v", a.build.Build.NVR(), s.err)
			if s.digest {
				c.Digests++
			}
			if s.wanted != "" && a.build.Build.Volume == v.CopyVolume {
				v.needsRecheck(s.wanted)
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

// planNamed plans the archives of builds on staging's volumes.
func (v *fileChecks) planNamed(ctx context.Context, there *listing) (volumes.Plan, error) {
	builds := map[int64]*volumes.BuildFiles{}
	for id, b := range there.builds {
		builds[id] = &volumes.BuildFiles{Build: volumes.Build{Name: b.name, Version: b.version, Release: b.release, Volume: b.volume}}
	}
	if err := compose.AddArchives(ctx, v.Snapshot, builds, func(tagged.Row) {}); err != nil {
		return volumes.Plan{}, err
	}
	var in volumes.Input
	for _, b := range builds {
		in.Builds = append(in.Builds, *b)
	}
	return volumes.NewPlan(in, volumes.Want{CopyVolume: v.CopyVolume})
}

// lookArchive looks at a build's archive. Content generators may put it into a subdirectory, which no database
// names: then lookArchive takes the file below there that is as the database says.
func (v *fileChecks) lookArchive(b volumes.Build, f volumes.File) fileState {
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

// below returns the paths below a build's directory at which a file can be.
func below(dir string, f volumes.File) (places []string) {
	top := filepath.Join(dir, filepath.Dir(f.Path))
	// What cannot be read is missing: that is then reported of the file.
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

// checkModuleFiles reads the modulemd files as a whole, because they are small.
func (v *fileChecks) checkModuleFiles(ctx context.Context) error {
	if len(v.modules) == 0 {
		return nil
	}
	checks := map[string]*Check{}
	for _, id := range slices.Sorted(maps.Keys(v.modules)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		m := v.modules[id]
		c := checks[m.tag]
		if c == nil {
			c = &Check{Name: "module files", Tag: m.tag}
			checks[m.tag] = c
		}
		dir, err := volumes.Build{Name: m.name, Version: m.version, Release: m.release, Volume: m.volume}.Dir()
		if err != nil {
			c.Count++
			c.bad("%s: %v", m.nvr(), err)
			continue
		}
		for _, bad := range m.bad {
			c.Count++
			c.bad("%s: %s", m.nvr(), bad)
		}
		if len(m.files)+len(m.bad) == 0 && !m.unknown {
			c.Count++
			c.bad("%s: has no modulemd file", m.nvr())
		}
		for _, f := range m.files {
			c.Count++
			err := v.user.Do(func() error { return readModule(filepath.Join(v.Topdir, dir, f.Path), f) })
			var digest *content.DigestError
			if errors.As(err, &digest) {
				c.Digests++
			}
			if err != nil {
				c.bad("%s: %v", m.nvr(), err)
				if m.volume == v.CopyVolume {
					v.needsRecheck(dir + "/" + f.Path)
				}
			}
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(checks)) {
		v.add(*checks[tag], StatusFailed)
	}
	return nil
}

// readModule checks a modulemd file. It follows symlinks: a compose reads these files and does not link them.
func readModule(path string, f volumes.File) error {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file but %s", path, kindOf(info.Mode()))
	}
	return content.Check(file, info.Size(), f, path, true)
}
