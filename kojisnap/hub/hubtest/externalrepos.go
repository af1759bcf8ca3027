package hubtest

func listExternalRepos(c *call) any {
	return selectExternalRepos(c, c.arg("info"), c.arg("url"), c.arg("event")).execute(c.arg("queryOpts"))
}

func getExternalRepo(c *call) any {
	return orNil(findExternalRepo(c, c.arg("info"), c.flag("strict"), c.arg("event")))
}

func selectExternalRepos(c *call, info, url, event any) *query {
	q := c.from("external_repo_config").join("external_repo", "id", "external_repo_config.external_repo_id").
		fieldList("id external_repo.id, name external_repo.name, url").at("external_repo_config", event)
	if info != nil {
		whereNameOrID(q, "external_repo", info)
	}
	if truth(url) {
		q.eq("external_repo_config.url", url)
	}
	return q
}

func findExternalRepo(c *call, info any, strict bool, event any) *Struct {
	repos := selectExternalRepos(c, info, nil, event).rows()
	switch {
	case len(repos) == 1:
		return repos[0]
	case len(repos) > 1:
		generic("More than one repo in the result.")
	case strict:
		generic("No such repo: %s", str(info))
	}
	return nil
}

func getTagExternalRepos(c *call) any {
	return anyList(tagExternalRepos(c, c.arg("tag_info"), c.arg("repo_info"), c.arg("event")))
}

func tagExternalRepos(c *call, tag, repo, event any) []*Struct {
	q := c.from("tag_external_repos").join("tag", "id", "tag_external_repos.tag_id").
		join("external_repo", "id", "tag_external_repos.external_repo_id").
		join("external_repo_config", "external_repo_id", "external_repo.id").
		fieldList(`external_repo_id external_repo.id, external_repo_name external_repo.name, priority
			tag_id tag.id, tag_name tag.name, url external_repo_config.url, merge_mode, arches`).
		at("tag_external_repos", event).at("external_repo_config", event)
	if truth(tag) {
		q.eq("tag_external_repos.tag_id", c.getID("tag", tag, true))
	}
	if truth(repo) {
		q.eq("tag_external_repos.external_repo_id", findExternalRepo(c, repo, true, event).Val("id"))
	}
	return rowsInOrder(q, "priority")
}

// getExternalRepoList is the external repos of a tag and of all it inherits
// from, each once.
func getExternalRepoList(c *call) any {
	event := c.arg("event")
	tag := c.tag(c.arg("tag_info"), true, event, false)
	seen := map[any]bool{}
	repos := []any{}
	for _, id := range c.lineage(tag.Val("id"), event, true) {
		for _, repo := range tagExternalRepos(c, id, nil, event) {
			if key := repo.Val("external_repo_id"); !seen[key] {
				seen[key] = true
				repos = append(repos, repo)
			}
		}
	}
	return repos
}

// rowsInOrder runs the query with an order of Koji's own.
func rowsInOrder(q *query, order string) []*Struct {
	list := q.execute(NewStruct("order", order)).([]any)
	rows := make([]*Struct, len(list))
	for i := range list {
		rows[i] = list[i].(*Struct)
	}
	return rows
}
