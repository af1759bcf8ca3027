package verify

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/oneline"
	"kojisnap/volumes"
)

// moduleBuild is a build of type module, with the modulemd files in which a compose reads what the module has.
type moduleBuild struct {
	*taggedBuild
	tag     string
	files   []volumes.File
	bad     []string // what is wrong with the rows of its archives
	unknown bool     // the hub did not say which archives it has
}

// moduleChecks compare modules, and look for the content tags that hold their rpms.
type moduleChecks struct{ *verifier }

// checkModules compares the modules of a tag with production.
func (v moduleChecks) checkModules(ctx context.Context, t *taggedTag) error {
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
				t.explain(why, 1)
			} else {
				c.bad("%s: only in production", b.nvr())
			}
		}
		for _, b := range builds {
			if wanted[b.identity()] {
				continue
			}
			if why := decided.aboutBuild(b); why != "" {
				t.explain(why, 1)
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

// checkModuleArchives collects the modulemd files of the modules.
func (v moduleChecks) checkModuleArchives(ctx context.Context, t *taggedTag) error {
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

// addArchive adds an archive if Pungi reads it: modulemd.txt, or modulemd.ARCH.txt.
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
