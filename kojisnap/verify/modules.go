package verify

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"kojisnap/kojisnap/oneline"
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
	*taggedBuild
	tag     string
	files   []volumes.File
	bad     []string // what is wrong with rows of its archives
	unknown bool     // the hub did not say which archives it has
}

// checkModules compares the modules of a tag with production.
func (v *verifier) checkModules(ctx context.Context, t *taggedTag) error {
	c := Check{Name: "modules", Tag: t.name}
	return v.attempt(ctx, c, func() error {
		builds, err := v.staging.modules(ctx, t.here)
		if err != nil {
			return err
		}
		for _, b := range builds {
			m := &moduleBuild{taggedBuild: b, tag: t.name}
			t.modules = append(t.modules, m)
			v.modules[b.id] = m
		}
		want, err := v.expected.modules(ctx, t.tagRef)
		if err != nil {
			return err
		}
		packages := newNames(v.Record.IDs["package"])
		wanted, have := map[string]bool{}, map[string]bool{}
		for _, b := range want {
			wanted[b.nvr()] = true
			packages.production[b.packageID] = b.name
		}
		for _, b := range builds {
			if b.as = packages.of(b.packageID, b.name); b.as != b.name {
				t.renamed[fmt.Sprintf("package %s is %q in staging", b.as, b.name)] = true
			}
			have[b.identity()] = true
		}
		c.Count = len(want)
		decided := v.Record.of(want)
		for _, b := range want {
			if have[b.nvr()] || t.undecided[b.id] {
				continue
			}
			if why := decided.aboutModule(b); why != "" {
				t.subtract(why, 1)
			} else {
				c.bad("%s: only in production", b.nvr())
			}
		}
		for _, b := range builds {
			if wanted[b.identity()] {
				continue
			}
			if why := decided.aboutBuild(b); why != "" {
				t.subtract(why, 1)
			} else {
				c.bad("%s: only in staging", b.nvr())
			}
		}
		if len(want)+len(builds) > 0 {
			v.add(c, StatusFailed)
		}
		return nil
	})
}

// checkModuleArchives collects the files of the modules.
func (v *verifier) checkModuleArchives(ctx context.Context, t *taggedTag) error {
	if len(t.modules) == 0 {
		return nil
	}
	c := Check{Name: "module archives", Tag: t.name, Count: len(t.modules)}
	return v.attempt(ctx, c, func() error {
		calls := make([]hub.Call, len(t.modules))
		for i, b := range t.modules {
			calls[i] = hub.Call{Method: "listArchives", Kwargs: map[string]any{"buildID": b.id, "type": "module"}}
			b.unknown = true
		}
		results, err := v.staging.multi(ctx, calls)
		if err != nil {
			return err
		}
		for i, b := range t.modules {
			if err := results[i].Err; err != nil {
				c.bad("%s: %v", b.nvr(), oneline.Of(v.staging.failed(err)))
				continue
			}
			b.unknown = false
			for _, r := range results[i].Value.Items() {
				b.addArchive(r)
			}
		}
		if c.Bad > 0 {
			v.add(c, StatusFailed)
		}
		return nil
	})
}

// addArchive notes a modulemd file: modulemd.txt, or modulemd.ARCH.txt, which Pungi reads.
func (b *moduleBuild) addArchive(r hub.Value) {
	name := text(r.Field("filename"))
	if only, _ := r.Field("metadata_only").Bool(); only || !strings.HasPrefix(name, "modulemd.") || filepath.Ext(name) != ".txt" {
		return
	}
	path, err := volumes.TypePath("module", name)
	if err != nil {
		b.bad = append(b.bad, err.Error())
		return
	}
	algorithms := [...]string{"md5", "sha1", "sha256"}
	kind, sum := number(r.Field("checksum_type")), text(r.Field("checksum"))
	switch {
	case kind < 0 || int(kind) >= len(algorithms):
		b.bad = append(b.bad, fmt.Sprintf("%s: checksum type %d is unknown", path, kind))
	case !isHex(sum, [...]int{md5.Size, sha1.Size, sha256.Size}[kind]):
		b.bad = append(b.bad, fmt.Sprintf("%s: the database's checksum is %q, which is no %s: what the file holds cannot be checked", path, sum, algorithms[kind]))
	default:
		b.files = append(b.files, volumes.File{Path: path, Kind: volumes.KindArchive, Size: number(r.Field("size")),
			Digest: algorithms[kind] + ":" + strings.ToLower(sum)})
	}
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
			var digest *hardlink.DigestError
			if errors.As(err, &digest) {
				c.Digests++
			}
			if err != nil {
				c.bad("%s: %v", m.nvr(), err)
				if m.volume == v.CopyVolume {
					v.result.suspects = append(v.result.suspects, dir+"/"+f.Path)
				}
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
