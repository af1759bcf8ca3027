package hubtest

func getBuildTargets(c *call) any {
	return c.buildTargets(c.arg("info"), c.arg("event"), c.arg("buildTagID"), c.arg("destTagID")).execute(c.arg("queryOpts"))
}

func getBuildTarget(c *call) any {
	targets := c.buildTargets(c.arg("info"), c.arg("event"), nil, nil).rows()
	if len(targets) == 1 {
		return targets[0]
	}
	if c.flag("strict") {
		generic("No such build target: %s", str(c.arg("info")))
	}
	return nil
}

func (c *call) buildTargets(info, event, buildTag, destTag any) *query {
	q := c.from("build_target_config").join("build_target", "id", "build_target_config.build_target_id").
		join("tag AS tag1", "id", "build_target_config.build_tag").join("tag AS tag2", "id", "build_target_config.dest_tag").
		fieldList(`id build_target.id, name build_target.name, build_tag, dest_tag
			build_tag_name tag1.name, dest_tag_name tag2.name`).at("build_target_config", event)
	if truth(info) {
		whereNameOrID(q, "build_target", info)
	}
	for column, tag := range map[string]any{"build_tag": buildTag, "dest_tag": destTag} {
		switch tag.(type) {
		case nil:
			continue
		case string, *Struct:
			tag = c.getID("tag", tag, false)
		}
		q.eq("build_target_config."+column, tag)
	}
	return q
}
