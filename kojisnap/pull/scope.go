package pull

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/snapfile"
)

// UnknownTagError says that the hub has no such tag at the event of the pull.
type UnknownTagError struct {
	Hub   string
	Tag   string
	Event int64
}

func (e *UnknownTagError) Error() string {
	return fmt.Sprintf("hub %s has no tag %q at event %d", e.Hub, e.Tag, e.Event)
}

// noEventError says that the hub has no such event.
type noEventError struct {
	hub   string
	event int64
}

func (e *noEventError) Error() string {
	return fmt.Sprintf("hub %s has no event %d (yet)", e.hub, e.event)
}

// findEvent settles E and its time.
func (p *puller) findEvent(ctx context.Context) error {
	if p.opt.Event < 0 {
		return fmt.Errorf("event %d: events count from 1", p.opt.Event)
	}
	if p.opt.Event > 0 {
		v, err := p.hub.Call(ctx, hub.Call{Method: "getEvent", Args: []any{p.opt.Event}})
		var fault *hub.Fault
		if errors.As(err, &fault) && fault.Code == hub.FaultGeneric {
			return &noEventError{p.hub.URL(), p.opt.Event}
		}
		if err != nil {
			return fmt.Errorf("event %d: %w", p.opt.Event, err)
		}
		return p.setEvent(v)
	}
	now, err := p.hub.Clock(ctx)
	if err != nil {
		return fmt.Errorf("hub %s: %w", p.hub.URL(), err)
	}
	before := now.Add(-max(p.opt.Margin, 0))
	v, there, err := p.lastEvent(ctx, before)
	if err == nil && !there {
		return fmt.Errorf("hub %s has no event older than %s (the margin of %s before its clock)",
			p.hub.URL(), before.UTC().Format(time.RFC3339), p.opt.Margin)
	}
	if err != nil {
		return fmt.Errorf("last event before %s: %w", before.UTC().Format(time.RFC3339), err)
	}
	return p.setEvent(v)
}

// lastEvent asks for the last event before a time, and reports whether there is one.
func (p *puller) lastEvent(ctx context.Context, before time.Time) (v hub.Value, there bool, err error) {
	v, err = p.hub.Call(ctx, hub.Call{Method: "getLastEvent", Kwargs: map[string]any{"before": float64(before.UnixMicro()) / 1e6}})
	var fault *hub.Fault
	if errors.As(err, &fault) && fault.Code == hub.FaultGeneric {
		return v, false, nil
	}
	return v, err == nil && v.Kind() != hub.Nil, err
}

func (p *puller) setEvent(v hub.Value) error {
	id, ok := v.Field("id").Int()
	ts, isTime := v.Field("ts").Float()
	if !ok || !isTime || id <= 0 {
		return fmt.Errorf("hub %s: %.200s is not an event", p.hub.URL(), v)
	}
	t, err := unixTime(ts)
	if err != nil {
		return err
	}
	p.event, p.eventTime = id, t
	p.builder.Refer("events", id)
	return p.addEvent(id, ts)
}

// findScope finds, from the tags asked for, all that they inherit at E, link by link, and, of the module
// builds in those and of those asked for by name, the content tags with what they inherit. Links are followed without regard to depth
// limits and filters: every tag of the scope must itself answer as in production.
func (p *puller) findScope(ctx context.Context) error {
	names := maps.Clone(p.asked)
	heads := slices.Sorted(maps.Keys(p.asked))
	content := newContentTags(p)
	more, err := content.followNamed(ctx, p.modules, names)
	if err != nil {
		return err
	}
	for heads = append(heads, more...); len(heads) > 0; {
		all, err := p.inherited(ctx, heads, names)
		if err != nil {
			return err
		}
		if heads, err = content.follow(ctx, heads, all, names); err != nil {
			return err
		}
	}
	p.scope.Content = content.list()
	return p.setScope(ctx, names)
}

// inherited adds to names what tags inherit that is not in it, and returns those and the tags.
func (p *puller) inherited(ctx context.Context, heads []int64, names map[int64]string) (all []int64, err error) {
	all = slices.Clone(heads)
	for level := heads; len(level) > 0; {
		calls := make([]hub.Call, len(level))
		for i, id := range level {
			calls[i] = hub.Call{Method: "getInheritanceData", Args: []any{id, p.event}, KeepBad: true}
		}
		results, err := p.hub.Multi(ctx, calls)
		if err != nil {
			return nil, fmt.Errorf("inheritance: %w", err)
		}
		level = nil
		for i, r := range results {
			if r.Err != nil {
				return nil, fmt.Errorf("inheritance of tag %d: %w", calls[i].Args[0], r.Err)
			}
			if r.Value.Kind() != hub.Array {
				return nil, fmt.Errorf("inheritance of tag %d: the hub answered %s, not a list", calls[i].Args[0], r.Value.Kind())
			}
			for _, link := range r.Value.Items() {
				id, ok := link.Field("parent_id").Int()
				name, named := link.Field("name").Str()
				if why := link.Field("name").Bad(); ok && why != nil {
					return nil, fmt.Errorf("inheritance of tag %d: the name of tag %d: %w: rename it in production", calls[i].Args[0], id, why)
				}
				if !ok || !named {
					return nil, fmt.Errorf("inheritance of tag %d: no parent in %s", calls[i].Args[0], link)
				}
				if _, known := names[id]; !known {
					names[id] = name
					level = append(level, id)
				}
			}
		}
		all = append(all, level...)
	}
	return all, nil
}

// setScope settles the tags of the scope.
func (p *puller) setScope(ctx context.Context, names map[int64]string) error {
	p.scope.All = nil
	for id, name := range names {
		p.inScope[id] = true
		p.scope.All = append(p.scope.All, snapfile.Tag{ID: id, Name: name})
	}
	slices.SortFunc(p.scope.All, func(a, b snapfile.Tag) int { return int(a.ID - b.ID) })
	p.log.InfoContext(ctx, "scope", "event", p.event, "tags", len(p.scope.All), "content", len(p.scope.ContentTags()), "asked", strings.Join(p.scope.Tags, ","))
	for _, t := range p.scope.All {
		if err := p.addName("tag", t.ID, t.Name); err != nil {
			return err
		}
	}
	return nil
}

// findTag returns the id and the name of a tag at E.
func (p *puller) findTag(ctx context.Context, name string) (id int64, now string, err error) {
	v, err := p.hub.Call(ctx, hub.Call{Method: "getTag", Args: []any{name}, Kwargs: map[string]any{"event": p.event}, KeepBad: true})
	if broken(ctx, err, nil) { // its extra, which the history has as text, may be no JSON, or hold what cannot be sent
		return p.tagByHistory(ctx, name, err)
	}
	if err != nil {
		return 0, "", fmt.Errorf("tag %q: %w", name, err)
	}
	return p.tagOf(name, v)
}

// tagOf takes getTag's answer about a name.
func (p *puller) tagOf(name string, v hub.Value) (id int64, now string, err error) {
	if v.IsNil() {
		return 0, "", &UnknownTagError{p.hub.URL(), name, p.event}
	}
	id, ok := v.Field("id").Int()
	if !ok {
		return 0, "", fmt.Errorf("tag %q: getTag of hub %s answered %s, which is not a tag", name, p.hub.URL(), v.Kind())
	}
	if err := idset.Check(id); err != nil {
		return 0, "", fmt.Errorf("tag %q: id %w", name, err)
	}
	if now, ok = v.Field("name").Str(); !ok || now == "" {
		return 0, "", fmt.Errorf("tag %q: getTag of hub %s answered an empty name", name, p.hub.URL())
	}
	return id, now, nil
}

// tagByHistory is getTag, of id and name alone, for a tag of which the hub cannot send the rest. If
// this fails, too, why is the error.
func (p *puller) tagByHistory(ctx context.Context, name string, why error) (id int64, now string, err error) {
	why = fmt.Errorf("tag %q: %w", name, why)
	v, err := p.hub.Call(ctx, hub.Call{Method: "getTagID", Args: []any{name}})
	id, ok := v.Int()
	if err != nil || !ok {
		return 0, "", why
	}
	v, err = p.hub.Call(ctx, hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"tag_config"}, "tag": id}, KeepBad: true})
	if err != nil {
		return 0, "", why
	}
	for _, r := range v.Field("tag_config").Items() {
		created, _ := r.Field("create_event").Int()
		revoked, isRevoked := r.Field("revoke_event").Int()
		if created <= p.event && (!isRevoked || revoked > p.event) {
			now, _ = r.Field("tag.name").Str()
			return id, now, idset.Check(id)
		}
	}
	return 0, "", &UnknownTagError{p.hub.URL(), name, p.event}
}

// addName adds a row of id and name, once.
func (p *puller) addName(relationName string, id int64, name string) error {
	return p.bring(relationName, id, [][]byte{[]byte(fmt.Sprint(id)), []byte(name)})
}

// bring adds a row that others bring along too, once.
func (p *puller) bring(relationName string, id int64, row [][]byte) error {
	if !p.builder.Has(relationName, id) {
		q := *p
		q.batch = nil
		if err := q.addRow(relationName, row, false); err != nil {
			return err
		}
	}
	p.batch.bring(relationName, id, row)
	return nil
}

// addEvent adds an event that a row brought along with its time.
func (p *puller) addEvent(id int64, ts float64) error {
	text, err := appendTime(nil, ts)
	if err != nil {
		return fmt.Errorf("event %d: %w", id, err)
	}
	return p.bring("events", id, [][]byte{[]byte(fmt.Sprint(id)), text})
}
