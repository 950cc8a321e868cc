package engine

// A Code is the "code" of an envelope and of an API answer. The numbers are
// those of the library that Carillon replaces, so that clients keep working.
type Code int

// The codes. CodeSent is also what an ordinary push carries.
const (
	CodeConnected     Code = 0
	CodeConnectFailed Code = 10002
	CodeLeft          Code = 10003
	CodeNoClient      Code = 10004
	CodeClosed        Code = 10005
	CodeReadFailed    Code = 10006
	CodeRead          Code = 10007
	CodeSendFailed    Code = 10008
	CodeSent          Code = 10009
	CodeHeartbeat     Code = 10010
	CodeNoSystem      Code = 10011
	CodeBound         Code = 10012
	CodeBindFailed    Code = 10013
	CodeUnauthorized  Code = 10014
	CodeInternal      Code = 10015
	CodeBadMethod     Code = 10016
	CodeBadParameter  Code = 10017
)

// A Lang chooses the language of the texts that go with codes.
type Lang uint8

// The languages. Chinese is the default, as in the original library.
const (
	Chinese Lang = iota
	English
)

var texts = map[Code][2]string{
	CodeConnected:     {"客户端连接成功", "client connected"},
	CodeConnectFailed: {"客户端连接失败", "client failed to connect"},
	CodeLeft:          {"客户端已离开", "client left"},
	CodeNoClient:      {"客户端不存在", "no such client"},
	CodeClosed:        {"客户端已关闭", "client closed"},
	CodeReadFailed:    {"读取消息体失败", "failed to read the message"},
	CodeRead:          {"读取消息体成功", "message read"},
	CodeSendFailed:    {"发送消息体失败", "failed to send the message"},
	CodeSent:          {"发送消息体成功", "message sent"},
	CodeHeartbeat:     {"心跳检测失败", "heartbeat failed"},
	CodeNoSystem:      {"系统ID不能为空", "system_id is missing"},
	CodeBound:         {"客户端绑定分组成功", "client bound to the group"},
	CodeBindFailed:    {"客户端绑定分组失败", "failed to bind the client to the group"},
	CodeUnauthorized:  {"身份验证失败", "not authenticated"},
	CodeInternal:      {"服务器内部错误", "internal error"},
	CodeBadMethod:     {"请求方法错误", "wrong method"},
	CodeBadParameter:  {"参数错误", "bad parameter"},
}

// Text is the "msg" that goes with the code, empty for an unknown code.
func (c Code) Text(l Lang) string {
	if l > English {
		l = English
	}
	return texts[c][l]
}
