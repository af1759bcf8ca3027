package apply

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// grants adds the permissions, content generators and groups of users.
func (o *planner) grants(ctx context.Context) error {
	perms, err := o.known(ctx, "permissions")
	if err != nil {
		return err
	}
	cgs, err := o.known(ctx, "content_generator")
	if err != nil {
		return err
	}
	for _, u := range o.over.Users {
		for _, name := range u.All() {
			id := o.users[name]
			for _, p := range u.Permissions {
				o.desire("user_perms", "user "+name+": permission "+p, fields{"user_id": id, "perm_id": perms[p]})
			}
			for _, g := range u.ContentGenerators {
				o.desire("cg_users", "user "+name+": content generator "+g, fields{"cg_id": cgs[g], "user_id": id})
			}
			for _, g := range u.Groups {
				o.desire("user_groups", "user "+name+": group "+g, fields{"user_id": id, "group_id": o.users[g]})
			}
		}
	}
	return nil
}

// hosts adds the configs and channels of hosts, and inserts hosts that are not there.
func (o *planner) hosts(ctx context.Context) error {
	channels, err := o.known(ctx, "channels")
	if err != nil {
		return err
	}
	for _, h := range o.over.Hosts {
		names := h.All()
		hosts, err := hostsNamed(ctx, o.Tx, names)
		if err != nil {
			return err
		}
		capacity := h.Capacity
		if capacity == 0 {
			capacity = 2
		}
		arches := strings.Join(h.Arches, " ")
		config := "arches " + arches + ", capacity " + strconv.FormatFloat(capacity, 'g', -1, 64)
		var description *string
		if h.Description != "" {
			description = &h.Description
			config += ", " + h.Description
		}
		for _, name := range names {
			user, ok := o.users[name]
			if !ok {
				continue // another type of user: a fault
			}
			host, there := hosts[name]
			switch {
			case !there:
				if host.id, err = o.insert(ctx, "host", fields{"user_id": user, "name": name}); err != nil {
					return fmt.Errorf("host %q: %w", name, err)
				}
			case host.user != user:
				o.fault(h.Place, h.KeyOf(name), "host %q: there is one, of another user (id %d)", name, host.user)
			}
			o.desire("host_config", "host "+name+": "+config,
				fields{"host_id": host.id, "arches": arches, "capacity": capacity, "description": description})
			for _, c := range h.Channels {
				o.desire("host_channels", "host "+name+": channel "+c, fields{"host_id": host.id, "channel_id": channels[c]})
			}
		}
	}
	return nil
}

// targets adds the configs of build targets, and inserts targets that are not there.
func (o *planner) targets(ctx context.Context) error {
	tags, err := o.known(ctx, "tag")
	if err != nil || len(o.faults) > 0 {
		return err
	}
	var names []string
	for _, t := range o.over.Targets {
		names = append(names, t.Name)
	}
	targets, err := idsNamed(ctx, o.Tx, "build_target", names)
	if err != nil {
		return err
	}
	for _, t := range o.over.Targets {
		id, ok := targets[t.Name]
		if !ok {
			if id, err = o.insert(ctx, "build_target", fields{"name": t.Name}); err != nil {
				return fmt.Errorf("target %q: %w", t.Name, err)
			}
		}
		o.desire("build_target_config", "target "+t.Name+": from "+t.BuildTag+" to "+t.DestTag,
			fields{"build_target_id": id, "build_tag": tags[t.BuildTag], "dest_tag": tags[t.DestTag]})
	}
	return nil
}

// extras adds the extra settings of tags.
func (o *planner) extras(ctx context.Context) error {
	tags, err := o.known(ctx, "tag")
	for _, x := range o.over.TagExtras {
		o.desire("tag_extra", "tag "+x.Tag+": extra "+x.Key+" = "+x.Value, fields{"tag_id": tags[x.Tag], "key": x.Key, "value": x.Value})
	}
	return err
}
