package hubtest

var logFields = newFieldMap(`id=scheduler_log_messages.id task_id=scheduler_log_messages.task_id
	host_id=scheduler_log_messages.host_id msg_ts=ts:scheduler_log_messages.msg_time msg=scheduler_log_messages.msg
	method=+task.method state=+task.state owner=+task.owner arch=+task.arch channel_id=+task.channel_id
	host_name=+host.name host_ready=+host.ready`)

func schedulerLogMessages(c *call) any {
	opts := c.arg("opts")
	if opts == nil {
		opts = NewStruct("order", "id")
	}
	q := c.from("scheduler_log_messages").left("task", "id", "scheduler_log_messages.task_id").
		left("host", "id", "scheduler_log_messages.host_id")
	return logFields.query(q, c.arg("clauses"), c.arg("fields"), []any{"id", "task_id", "host_id", "msg", "msg_ts"}, opts)
}
