package hubtest

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
)

// Koji's TASK_STATES.
const (
	taskClosed   = int64(2)
	taskCanceled = int64(3)
	taskFailed   = int64(5)
)

func (c *call) tasks() *query {
	return c.from("task").fieldList(`id, state, create_time, start_time, completion_time, channel_id, host_id, parent, label
		waiting, awaited, owner, method, arch, priority, weight`).epoch("create_ts", "task.create_time").
		epoch("start_ts", "task.start_time").epoch("completion_ts", "task.completion_time")
}

func listTasks(c *call) any {
	opts, _ := c.arg("opts").(*Struct)
	if opts == nil {
		opts = &Struct{}
	}
	q := c.tasks().left("users", "id", "task.owner").
		fieldList("request task.request, result task.result, owner_name users.name, owner_type users.usertype")
	for _, column := range []string{"arch", "state", "owner", "host_id", "channel_id", "parent"} {
		if v, ok := opts.Get(column); ok {
			whereOneOf(q, "task."+column, v, true)
		}
		if v, ok := opts.Get("not_" + column); ok {
			whereOneOf(q, "task."+column, v, false)
		}
	}
	if method, ok := opts.Get("method"); ok {
		q.eq("task.method", method)
	}
	for _, name := range []string{"created", "started", "complete", "completed"} {
		column := map[string]string{"created": "create_time", "started": "start_time"}[name]
		if column == "" {
			column = "completion_time"
		}
		limits := &call{args: map[string]any{name + "Before": opts.Val(name + "Before"), name + "After": opts.Val(name + "After")}}
		whereTimes(limits, q, name, "task."+column)
	}
	o := queryOptions(c.arg("queryOpts"))
	if truth(opts.Val("decode")) && !o.countOnly && !o.asList {
		q.changing(func(s *Struct) {
			s.Set("request", decodeTask(s.Val("request")))
			s.Set("result", decodeTask(s.Val("result")))
		})
	}
	return q.iterate(c.arg("queryOpts"))
}

// whereOneOf is column = v or IN v, or not; None means NULL.
func whereOneOf(q *query, ref string, v any, want bool) {
	value := q.ref(ref)
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	q.where(func(t tuple) bool {
		got := value(t)
		if got == nil && v != nil {
			return false
		}
		return slices.Contains(list, got) == want
	})
}

// decodeTask reads the XML-RPC document of a request or a result; a fault
// stands for itself.
func decodeTask(v any) any {
	text, ok := v.(string)
	if !ok || text == "" {
		return v
	}
	params, fault := taskDocument(text)
	if fault != nil {
		return NewStruct("faultCode", fault.Code, "faultString", fault.Text)
	}
	return params
}

func taskDocument(text string) ([]any, *Fault) {
	if !strings.Contains(text[:min(10, len(text))], "<?xml") {
		raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
		if err != nil {
			exception("binascii.Error", "%v", err)
		}
		text = string(raw)
	}
	_, params, err := decodeCall([]byte(text))
	if fault, ok := err.(*Fault); ok {
		return nil, fault
	}
	if err != nil {
		exception("xml.parsers.expat.ExpatError", "%v", err)
	}
	return params, nil
}

func (c *call) taskID(name string) int64 {
	id, _ := toInt(c.arg(name), false)
	return id
}

func (c *call) task(id any, strict, request bool) *Struct {
	task := c.tasks().eq("task.id", id).one()
	if task == nil {
		if strict {
			generic("query returned no rows")
		}
		return nil
	}
	if request {
		task.Set("request", decodeTask(taskColumn(c, id, "request")))
	}
	return task
}

func taskColumn(c *call, id any, column string) any {
	row := c.from("task").eq("task.id", id).fieldList(column).one()
	if row == nil {
		generic("query returned no rows")
	}
	return row.Val(column)
}

func getTaskInfo(c *call) any {
	list, many := c.arg("task_id").([]any)
	if !many {
		list = []any{c.arg("task_id")}
	}
	out := []any{}
	for _, v := range list {
		id, _ := toInt(v, false)
		out = append(out, orNil(c.task(id, c.flag("strict"), c.flag("request"))))
	}
	if many {
		return out
	}
	return out[0]
}

func getTaskRequest(c *call) any { return decodeTask(taskColumn(c, c.taskID("taskId"), "request")) }

func taskFinished(c *call) any {
	state := taskColumn(c, c.taskID("taskId"), "state")
	return state == taskClosed || state == taskCanceled || state == taskFailed
}

func getTaskResult(c *call) any {
	id := c.taskID("taskId")
	row := c.from("task").eq("task.id", id).fieldList("state, result").one()
	if row == nil {
		generic("No such task")
	}
	switch row.Val("state") {
	case taskCanceled:
		generic("Task %d is canceled", id)
	case taskClosed, taskFailed:
	default:
		generic("Task %d is not finished", id)
	}
	params, fault := taskDocument(asString(row.Val("result")))
	if fault != nil {
		if c.flag("raise_fault") {
			panic(fault)
		}
		return NewStruct("faultCode", fault.Code, "faultString", fault.Text)
	}
	if len(params) == 0 {
		exception("IndexError", "tuple index out of range")
	}
	return params[0]
}

func getTaskChildren(c *call) any {
	id := c.taskID("task_id")
	if c.flag("strict") {
		c.task(id, true, false)
	}
	return anyList(taskChildren(c, id, c.flag("request")))
}

func taskChildren(c *call, id any, request bool) []*Struct {
	q := c.tasks().eq("task.parent", id)
	if request {
		q.fieldList("request task.request")
		q.changing(func(s *Struct) { s.Set("request", decodeTask(s.Val("request"))) })
	}
	return q.rows()
}

// getTaskDescendents is a struct by task id of each task's children.
func getTaskDescendents(c *call) any {
	tree := &Struct{}
	var visit func(id int64)
	visit = func(id int64) {
		children := taskChildren(c, id, c.flag("request"))
		slices.SortFunc(children, func(a, b *Struct) int { return compareSQL(a.Val("id"), b.Val("id")) })
		tree.Set(strconv.FormatInt(id, 10), anyList(children))
		for _, child := range children {
			visit(asInt(child.Val("id")))
		}
	}
	visit(c.taskID("task_id"))
	return tree
}
