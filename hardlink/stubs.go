package hardlink

import (
	"strings"

	"kojisnap/hardlink/ledger"
	"kojisnap/volumes"
)

// A removed copy may still be asked for by its path below the copy volume: by a compose that is pinned at an
// older event and reuses an old package set. So a symlink to production's files (a stub) replaces the copy:
// such a compose then copies instead of hard-linking, and does not fail. The stub goes once the database does
// not have the build as a complete one, so that no event lists it.

// stub returns the target of the symlink that replaces a removed copy, or "" if there is to be none. volume
// is the database's volume of the build.
func (e *Engine) stub(b volumes.Build, volume string) string {
	if e.opts.ReadOnly == "" || volume == "" || volume == volumes.DefaultVolume || volume == b.Volume {
		return ""
	}
	rel, err := b.Rel()
	if err != nil || volumes.CheckName("volume name", volume) != nil {
		return ""
	}
	return "../../../../" + volume + "/" + rel
}

// stubBuild returns the build of a stub.
func stubBuild(link string) (volumes.Build, bool) {
	below, _ := strings.CutPrefix(link, "vol/")
	volume, rel, ok := strings.Cut(below, "/")
	if !ok || below == link {
		return volumes.Build{}, false
	}
	b, ok := linkBuild(rel)
	b.Volume = volume
	return b, ok
}

// isStub reports whether a stub is in the place of a build's copy.
func (d *differ) isStub(dir string) bool {
	if len(d.ledger.Links[dir]) == 0 {
		return false
	}
	target, err := d.top.Readlink(dir)
	return err == nil && d.ledger.Ours(dir)(target)
}

// stubs returns how many stubs a ledger has.
func stubs(l *ledger.Ledger) (n int) {
	for link := range l.Links {
		if strings.HasPrefix(link, "vol/") {
			if _, ok := stubBuild(link); ok {
				n++
			}
		}
	}
	return n
}
