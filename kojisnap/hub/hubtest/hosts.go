package hubtest

import (
	"slices"
	"strings"
)

func (c *call) hosts() *query {
	q := c.from("host_config").join("host", "id", "host_config.host_id").fieldList(`id host.id, user_id host.user_id
		name host.name, ready host.ready, task_load host.task_load, arches host_config.arches
		capacity host_config.capacity, description host_config.description, comment host_config.comment
		enabled host_config.enabled`)
	return q.epoch("update_ts", "host.update_time")
}

func getHost(c *call) any {
	host := c.host(c.arg("hostInfo"), c.arg("event"))
	if host == nil && c.flag("strict") {
		generic("Invalid hostInfo: %s", str(c.arg("hostInfo")))
	}
	return orNil(host)
}

func (c *call) host(info, event any) *Struct {
	return whereNameOrID(c.hosts().at("host_config", event), "host", info).one()
}

// listHosts takes queryOpts and ignores them, as Koji does.
func listHosts(c *call) any {
	q := c.hosts().is("host_config.active")
	if arches := c.arg("arches"); arches != nil {
		if !truth(arches) {
			generic("arches option cannot be empty")
		}
		whereAnyWord(q, "host_config.arches", arches)
	}
	if channel := c.arg("channelID"); channel != nil {
		q.join("host_channels", "host_id", "host.id").is("host_channels.active").
			eq("host_channels.channel_id", c.getID("channels", channel, true))
	}
	for _, name := range []string{"ready", "enabled"} {
		want := c.arg(name)
		if want == nil {
			continue
		}
		ref := map[string]string{"ready": "host.ready", "enabled": "host_config.enabled"}[name]
		q.eq(ref, truth(want))
	}
	if user := c.arg("userID"); user != nil {
		q.eq("host.user_id", c.user(user, true).Val("id"))
	}
	return q.execute(nil)
}

// whereAnyWord demands that a text holds one of the words.
func whereAnyWord(q *query, ref string, words any) {
	list, ok := words.([]any)
	if !ok {
		list = []any{words}
	}
	var patterns []string
	for _, w := range list {
		patterns = append(patterns, str(w))
	}
	re, value := regex(`\m(`+strings.Join(patterns, "|")+`)\M`), q.ref(ref)
	q.where(func(t tuple) bool { s, ok := value(t).(string); return ok && re.MatchString(s) })
}

func (c *call) channels(table string) *query {
	q := c.from(table)
	if table != "channels" {
		q.join("channels", "id", table+".channel_id")
	}
	return q.fieldList(`id channels.id, name channels.name, description channels.description
		enabled channels.enabled, comment channels.comment`)
}

func getChannel(c *call) any {
	channel := whereNameOrID(c.channels("channels"), "channels", c.arg("channelInfo")).one()
	if channel == nil && c.flag("strict") {
		generic("query returned no rows")
	}
	return orNil(channel)
}

func listChannels(c *call) any {
	q := c.channels("channels")
	if host := c.arg("hostID"); truth(host) {
		if _, ok := host.(string); ok {
			found := c.host(host, nil)
			if found == nil {
				generic("Invalid hostInfo: %s", str(host))
			}
			host = found.Val("id")
		}
		q = c.channels("host_channels").at("host_channels", c.arg("event")).eq("host_channels.host_id", host)
	} else if c.flag("event") {
		generic("list_channels with event and not host is not allowed.")
	}
	if enabled := c.arg("enabled"); enabled != nil {
		q.eq("channels.enabled", truth(enabled))
	}
	return q.execute(nil)
}

func getAllArches(c *call) any {
	list := []any{}
	for _, row := range c.from("host_config").is("host_config.active").fieldList("arches").rows() {
		for _, arch := range strings.Fields(asString(row.Val("arches"))) {
			if !slices.Contains(list, any(arch)) {
				list = append(list, arch)
			}
		}
	}
	return list
}
