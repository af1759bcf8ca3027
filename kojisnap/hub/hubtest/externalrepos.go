package hubtest

import (
	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
)

func listExternalRepos(c *call) any {
	return selectExternalRepos(c, c.arg("info"), c.arg("url"), c.arg("event")).Execute(c.arg("queryOpts"))
}

func getExternalRepo(c *call) any {
	return orNil(findExternalRepo(c, c.arg("info"), c.flag("strict"), c.arg("event")))
}

func selectExternalRepos(c *call, info, url, event any) *query.Query {
	q := c.from("external_repo_config").Join("external_repo", "id", "external_repo_config.external_repo_id").
		FieldList("id external_repo.id, name external_repo.name, url").At("external_repo_config", event)
	if info != nil {
		whereNameOrID(q, "external_repo", info)
	}
	if python.Truth(url) {
		q.Eq("external_repo_config.url", url)
	}
	return q
}

func findExternalRepo(c *call, info any, strict bool, event any) *python.Struct {
	repos := selectExternalRepos(c, info, nil, event).Rows()
	switch {
	case len(repos) == 1:
		return repos[0]
	case len(repos) > 1:
		python.Generic("More than one repo in the result.")
	case strict:
		python.Generic("No such repo: %s", python.Str(info))
	}
	return nil
}

func getTagExternalRepos(c *call) any {
	return query.AnyList(tagExternalRepos(c, c.arg("tag_info"), c.arg("repo_info"), c.arg("event")))
}

func tagExternalRepos(c *call, tag, repo, event any) []*python.Struct {
	q := c.from("tag_external_repos").Join("tag", "id", "tag_external_repos.tag_id").
		Join("external_repo", "id", "tag_external_repos.external_repo_id").
		Join("external_repo_config", "external_repo_id", "external_repo.id").
		FieldList(`external_repo_id external_repo.id, external_repo_name external_repo.name, priority
			tag_id tag.id, tag_name tag.name, url external_repo_config.url, merge_mode, arches`).
		At("tag_external_repos", event).At("external_repo_config", event)
	if python.Truth(tag) {
		q.Eq("tag_external_repos.tag_id", c.getID("tag", tag, true))
	}
	if python.Truth(repo) {
		q.Eq("tag_external_repos.external_repo_id", findExternalRepo(c, repo, true, event).Val("id"))
	}
	return rowsInOrder(q, "priority")
}

// getExternalRepoList returns the external repos of a tag and of everything it inherits from, each once.
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
func rowsInOrder(q *query.Query, order string) []*python.Struct {
	list := q.Execute(python.NewStruct("order", order)).([]any)
	rows := make([]*python.Struct, len(list))
	for i := range list {
		rows[i] = list[i].(*python.Struct)
	}
	return rows
}
