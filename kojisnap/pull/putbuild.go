package pull

import (
	"errors"
	"fmt"
	"strconv"

	"kojisnap/kojisnap/hub"
)

// putBuild adds a build. left: the build has left the scope, so its row is not part of the view.
func (t task) putBuild(id int64, r hub.Value, left bool) error {
	if got, _ := r.Field("build_id").Int(); got != id {
		return fmt.Errorf("getBuild of %d answered build %d", id, got)
	}
	event, _ := r.Field("creation_event_id").Int()
	ts, ok := r.Field("creation_ts").Float()
	if !ok {
		return fmt.Errorf("build %d: no creation_ts", id)
	}
	row, fault, err := t.row("build", r, nil)
	if err != nil {
		return err
	}
	if fault != nil && left {
		return nil // its state has not changed
	}
	if fault != nil { // treat it like a build that the hub cannot send, with its id
		t.skipBuild("build", id, fault)
		return nil
	}
	if err := t.addEvent(event, ts); err != nil {
		return err
	}
	pkg, _ := r.Field("package_id").Int()
	if err := t.addNamed("package", pkg, r.Field("package_name")); err != nil {
		return err
	}
	if cg, ok := r.Field("cg_id").Int(); ok {
		if err := t.addNamed("content_generator", cg, r.Field("cg_name")); err != nil {
			return err
		}
	}
	if !left {
		draft, _ := r.Field("draft").Bool()
		t.drafts.build(id, draft)
	}
	if left {
		return t.addRevoked("build", row)
	}
	return t.add("build", row)
}

// putTypes adds the rows in a reply of getBuildType.
func (t task) putTypes(build int64, r hub.Value) error {
	id := []byte(strconv.FormatInt(build, 10))
	if r.Kind() != hub.Struct {
		return fmt.Errorf("build %d: getBuildType answered %s, not its types", build, r.Kind())
	}
	for name, info := range r.Members() {
		if why := info.Bad(); why != nil {
			t.skipBuild("build_types", build, fmt.Errorf("a type: %w", why))
			continue
		}
		btype, ok := t.btypes[name]
		if !ok {
			t.skipBuild("build_types", build, fmt.Errorf("build type %q: %w", name, errNoBType))
			continue
		}
		var err error
		if err := t.add("build_types", [][]byte{id, btype}); err != nil {
			return err
		}
		switch {
		case name == "image":
			err = t.add("image_builds", [][]byte{id})
		case name == "maven" || name == "win":
			err = t.put(name+"_builds", info)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// noBuild says why a build is wanted that the hub does not have.
func (b buildReader) noBuild(id int64) error {
	if b.Named.Has(id) {
		return errors.New("it was asked for by name, but the hub has no such build any more")
	}
	return errNoBuild
}

var errNoBuild = errors.New("it is tagged in the scope, but the hub has no such build")

var errNoBType = errors.New("the hub lists no such build type")
