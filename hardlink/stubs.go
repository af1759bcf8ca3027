package hardlink

import (
	"strings"

	"kojisnap/hardlink/ledger"
	"kojisnap/volumes"
)

// A build whose copy is removed goes on to be asked for below the copy volume: a compose that is pinned
// at an older event, and reuses an old one's package set, has the path of the copy. So a symlink to
// production's files takes the copy's place: what would be a hard link becomes a copy, not a failure. It
// goes once the database does not have the build as a complete one, so that no event lists it.

// stub is what the symlink in the place of a removed copy says; "" if there is to be none. volume is
// where the database has the build.
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

// stubBuild is the build of a symlink in the place of a removed copy.
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

// isStub tells whether a symlink of ours is in the place of a build's copy.
func (d *differ) isStub(dir string) bool {
	if len(d.ledger.Links[dir]) == 0 {
		return false
	}
	target, err := d.top.Readlink(dir)
	return err == nil && d.ledger.Ours(dir)(target)
}

// stubs are how many a ledger has.
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
