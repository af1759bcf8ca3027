package kojisnap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"kojisnap/hardlink"
	"kojisnap/kojisnap/hub"
	"kojisnap/volumes"
)

// moduleBuild is a build of type module, with the files of which a compose takes what is in
// the module.
type moduleBuild struct {
	taggedBuild
	tag   string
	files []volumes.File
}

// checkModules compares the modules of a tag with production, and collects their files.
func (v *verifier) checkModules(ctx context.Context, tag string) error {
	want, err := v.expected.moduleNVRs(ctx, tag)
	if err != nil {
		return err
	}
	builds, err := v.staging.moduleBuilds(ctx, tag)
	if err != nil {
		return err
	}
	c := Check{Name: "modules", Tag: tag, Count: len(want)}
	var have []string
	calls := make([]hub.Call, len(builds))
	for i, b := range builds {
		have = append(have, b.nvr())
		calls[i] = hub.Call{Method: "listArchives", Kwargs: map[string]any{"buildID": b.id, "type": "module"}}
		b.tag = tag
		v.modules[b.id] = b
	}
	for _, nvr := range want {
		if !slices.Contains(have, nvr) {
			c.bad("%s: only in production", nvr)
		}
	}
	for _, nvr := range have {
		if !slices.Contains(want, nvr) {
			c.bad("%s: only in staging", nvr)
		}
	}
	if len(want)+len(have) > 0 {
		v.add(c, StatusFailed)
	}
	err = v.Hub.StreamMulti(ctx, calls, func(i int, r hub.Row) error {
		return builds[i].addArchive(r)
	})
	if err != nil || len(builds) == 0 {
		return err
	}
	return v.checkContentTags(ctx, tag, builds)
}

// checkContentTags looks for the tags that hold the rpms of modules. Nothing inherits them, so
// a pull does not find them by itself.
func (v *verifier) checkContentTags(ctx context.Context, tag string, builds []*moduleBuild) error {
	calls := make([]hub.Call, len(builds))
	for i, b := range builds {
		calls[i] = hub.Call{Method: "getBuild", Args: []any{b.id}}
	}
	infos, err := v.Hub.Multi(ctx, calls)
	if err != nil {
		return err
	}
	var named []string
	for _, info := range infos {
		if info.Err != nil {
			return info.Err
		}
		module := info.Value.Field("extra").Field("typeinfo").Field("module")
		if name := text(module.Field("content_koji_tag")); name != "" {
			named = append(named, name)
		}
	}
	slices.Sort(named)
	named = slices.Compact(named)
	calls = calls[:0]
	for _, name := range named {
		calls = append(calls, hub.Call{Method: "getTag", Args: []any{name}, Kwargs: v.staging.at(map[string]any{})})
	}
	tags, err := v.Hub.Multi(ctx, calls)
	if err != nil {
		return err
	}
	c := Check{Name: "content tags", Tag: tag, Count: len(named)}
	for i, name := range named {
		if tags[i].Err != nil {
			return tags[i].Err
		}
		if _, there := tags[i].Value.Field("id").Int(); !there {
			c.bad("%s: staging does not have it: pull it, too", name)
		}
	}
	v.add(c, StatusWarning)
	return nil
}

// addArchive notes a modulemd file: modulemd.txt, or modulemd.ARCH.txt, which Pungi reads.
func (b *moduleBuild) addArchive(r hub.Row) error {
	name := text(r.Get("filename"))
	if only, _ := r.Get("metadata_only").Bool(); only || !strings.HasPrefix(name, "modulemd.") || filepath.Ext(name) != ".txt" {
		return nil
	}
	path, err := volumes.TypePath("module", name)
	if err != nil {
		return fmt.Errorf("module %s: %w", b.nvr(), err)
	}
	algorithms := [...]string{"md5", "sha1", "sha256"}
	kind := number(r.Get("checksum_type"))
	if kind < 0 || int(kind) >= len(algorithms) {
		return fmt.Errorf("module %s: %s: checksum type %d is unknown", b.nvr(), path, kind)
	}
	b.files = append(b.files, volumes.File{Path: path, Kind: volumes.KindArchive, Size: number(r.Get("size")),
		Digest: algorithms[kind] + ":" + strings.ToLower(text(r.Get("checksum")))})
	return nil
}

// checkModuleFiles reads the modulemd files, whole: they are small.
func (v *verifier) checkModuleFiles(ctx context.Context) error {
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
		if len(m.files) == 0 {
			c.Count++
			c.bad("%s: has no modulemd file", m.nvr())
		}
		for _, f := range m.files {
			c.Count++
			err := v.user.Do(func() error { return readModule(filepath.Join(v.Topdir, dir, f.Path), f) })
			var digest *hardlink.DigestError
			if errors.As(err, &digest) {
				c.Digests++
			}
			if err != nil {
				c.bad("%s: %v", m.nvr(), err)
			}
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(checks)) {
		v.add(*checks[tag], StatusFailed)
	}
	return nil
}

// readModule may follow a symlink: a compose reads modulemd files, and links none.
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
	return hardlink.Check(file, info.Size(), f, path, true)
}
