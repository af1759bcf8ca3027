package hubtest

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"kojisnap/kojisnap/hub/hubtest/kojidb"
	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
	"kojisnap/kojisnap/hub/hubtest/xmlrpc"
)

// Koji's TASK_STATES.
const (
	taskClosed   = int64(2)
	taskCanceled = int64(3)
	taskFailed   = int64(5)
)

func (c *call) tasks() *query.Query {
	return c.from("task").FieldList(`id, state, create_time, start_time, completion_time, channel_id, host_id, parent, label
		waiting, awaited, owner, method, arch, priority, weight`).Epoch("create_ts", "task.create_time").
		Epoch("start_ts", "task.start_time").Epoch("completion_ts", "task.completion_time")
}

func listTasks(c *call) any {
	opts, _ := c.arg("opts").(*python.Struct)
	if opts == nil {
		opts = &python.Struct{}
	}
	q := c.tasks().Left("users", "id", "task.owner").
		FieldList("request task.request, result task.result, owner_name users.name, owner_type users.usertype")
	for _, column := range []string{"arch", "state", "owner", "host_id", "channel_id", "parent"} {
		if v, ok := opts.Get(column); ok {
			whereOneOf(q, "task."+column, v, true)
		}
		if v, ok := opts.Get("not_" + column); ok {
			whereOneOf(q, "task."+column, v, false)
		}
	}
	if method, ok := opts.Get("method"); ok {
		q.Eq("task.method", method)
	}
	for _, name := range []string{"created", "started", "complete", "completed"} {
		column := map[string]string{"created": "create_time", "started": "start_time"}[name]
		if column == "" {
			column = "completion_time"
		}
		limits := &call{args: map[string]any{name + "Before": opts.Val(name + "Before"), name + "After": opts.Val(name + "After")}}
		whereTimes(limits, q, name, "task."+column)
	}
	o := query.ReadOptions(c.arg("queryOpts"))
	if python.Truth(opts.Val("decode")) && !o.CountOnly && !o.AsList {
		q.Changing(func(s *python.Struct) {
			s.Set("request", decodeTask(s.Val("request")))
			s.Set("result", decodeTask(s.Val("result")))
		})
	}
	return q.Iterate(c.arg("queryOpts"))
}

// whereOneOf requires column = v or IN v, or the opposite; None means NULL.
func whereOneOf(q *query.Query, ref string, v any, want bool) {
	value := q.Ref(ref)
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	q.Where(func(t query.Tuple) bool {
		got := value(t)
		if got == nil && v != nil {
			return false
		}
		return slices.Contains(list, got) == want
	})
}

// decodeTask decodes the XML-RPC document of a request or a result. A fault decodes to itself.
func decodeTask(v any) any {
	text, ok := v.(string)
	if !ok || text == "" {
		return v
	}
	params, fault := taskDocument(text)
	if fault != nil {
		return python.NewStruct("faultCode", fault.Code, "faultString", fault.Text)
	}
	return params
}

func taskDocument(text string) ([]any, *python.Fault) {
	if !strings.Contains(text[:min(10, len(text))], "<?xml") {
		raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
		if err != nil {
			python.Exception("binascii.Error", "%v", err)
		}
		text = string(raw)
	}
	_, params, err := xmlrpc.Call([]byte(text))
	if fault, ok := err.(*python.Fault); ok {
		return nil, fault
	}
	if err != nil {
		python.Exception("xml.parsers.expat.ExpatError", "%v", err)
	}
	return params, nil
}

func (c *call) taskID(name string) int64 {
	id, _ := python.ToInt(c.arg(name), false)
	return id
}

func (c *call) task(id any, strict, request bool) *python.Struct {
	task := c.tasks().Eq("task.id", id).One()
	if task == nil {
		if strict {
			python.Generic("query returned no rows")
		}
		return nil
	}
	if request {
		task.Set("request", decodeTask(taskColumn(c, id, "request")))
	}
	return task
}

func taskColumn(c *call, id any, column string) any {
	row := c.from("task").Eq("task.id", id).FieldList(column).One()
	if row == nil {
		python.Generic("query returned no rows")
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
		id, _ := python.ToInt(v, false)
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
	row := c.from("task").Eq("task.id", id).FieldList("state, result").One()
	if row == nil {
		python.Generic("No such task")
	}
	switch row.Val("state") {
	case taskCanceled:
		python.Generic("Task %d is canceled", id)
	case taskClosed, taskFailed:
	default:
		python.Generic("Task %d is not finished", id)
	}
	params, fault := taskDocument(python.AsString(row.Val("result")))
	if fault != nil {
		if c.flag("raise_fault") {
			panic(fault)
		}
		return python.NewStruct("faultCode", fault.Code, "faultString", fault.Text)
	}
	if len(params) == 0 {
		python.Exception("IndexError", "tuple index out of range")
	}
	return params[0]
}

func getTaskChildren(c *call) any {
	id := c.taskID("task_id")
	if c.flag("strict") {
		c.task(id, true, false)
	}
	return query.AnyList(taskChildren(c, id, c.flag("request")))
}

func taskChildren(c *call, id any, request bool) []*python.Struct {
	q := c.tasks().Eq("task.parent", id)
	if request {
		q.FieldList("request task.request")
		q.Changing(func(s *python.Struct) { s.Set("request", decodeTask(s.Val("request"))) })
	}
	return q.Rows()
}

// getTaskDescendents is a struct by task id of each task's children.
func getTaskDescendents(c *call) any {
	tree := &python.Struct{}
	var visit func(id int64)
	visit = func(id int64) {
		children := taskChildren(c, id, c.flag("request"))
		slices.SortFunc(children, func(a, b *python.Struct) int { return kojidb.CompareSQL(a.Val("id"), b.Val("id")) })
		tree.Set(strconv.FormatInt(id, 10), query.AnyList(children))
		for _, child := range children {
			visit(python.AsInt(child.Val("id")))
		}
	}
	visit(c.taskID("task_id"))
	return tree
}

var logFields = newFieldMap(`id=scheduler_log_messages.id task_id=scheduler_log_messages.task_id
	host_id=scheduler_log_messages.host_id msg_ts=ts:scheduler_log_messages.msg_time msg=scheduler_log_messages.msg
	method=+task.method state=+task.state owner=+task.owner arch=+task.arch channel_id=+task.channel_id
	host_name=+host.name host_ready=+host.ready`)

func schedulerLogMessages(c *call) any {
	opts := c.arg("opts")
	if opts == nil {
		opts = python.NewStruct("order", "id")
	}
	q := c.from("scheduler_log_messages").Left("task", "id", "scheduler_log_messages.task_id").
		Left("host", "id", "scheduler_log_messages.host_id")
	return logFields.query(q, c.arg("clauses"), c.arg("fields"), []any{"id", "task_id", "host_id", "msg", "msg_ts"}, opts)
}
