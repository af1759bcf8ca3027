package pull

import (
	"context"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/pull/pager"
)

// taggedIn finds a tag of the scope that a build is tagged in at E, and the name of its package.
func (r *run) taggedIn(ctx context.Context, build int64) (tag int64, name string, err error) {
	call := hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"tag_listing"}, "build": build}}
	err = r.hub.StreamTables(ctx, pager.RowsOf(call), func(_ string, row hub.Row) error {
		id, _ := row.Get("tag_id").Int()
		created, _ := row.Get("create_event").Int()
		revoked, isRevoked := row.Get("revoke_event").Int()
		if r.InScope[id] && created <= r.Event && (!isRevoked || revoked > r.Event) {
			tag = id
			name, _ = row.Get("name").Str()
		}
		return nil
	})
	return tag, name, err
}

// withoutExtra reads rows of a build without their extra, which is usually what a hub cannot send. It uses a
// call that lists tagged rows, and calls fn for those of the build. If it finds none, that is no error.
func (r *run) withoutExtra(ctx context.Context, method string, build int64, fn func(row hub.Row) error) error {
	if !r.version.AtLeast(1, 29) { // it knows no extra=False
		return nil
	}
	tag, name, err := r.taggedIn(ctx, build)
	if err != nil && !hub.Splittable(err) {
		return err
	}
	if err != nil || tag == 0 || name == "" {
		return nil
	}
	kwargs := map[string]any{"tag": tag, "package": name, "extra": false}
	if method == "listTaggedRPMS" { // for archives of a package, no hub can answer that at an event
		kwargs["event"] = r.Event
	}
	var ours error
	err = r.hub.StreamTables(ctx, pager.RowsOf(hub.Call{Method: method, Kwargs: kwargs}), func(table string, row hub.Row) error {
		if id, _ := row.Get("build_id").Int(); table == "0" && id == build {
			ours = fn(row)
		}
		return ours
	})
	if pager.Broken(ctx, err, ours) {
		r.log.InfoContext(ctx, "not sent without extra either", "build", build, "method", method, "err", err)
		return nil
	}
	return err
}
