package stack

import (
	"testing"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestAStackIsMadeChangedAndDeleted(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		p := newProcess(t, db, newCloud())
		id := p.begin("shop", things("A Value: a", "B Value: !Sub 'b of ${A.Echo}', Needs: [!Ref A]"))
		p.is("shop", CreateInProgress)
		p.drive("shop")
		p.is("shop", CreateComplete)
		p.exist("a", "b of a")
		p.change("shop", things("A Value: a, Fixed: other", "B Value: !Sub 'b of ${A.Echo}', Needs: [!Ref A]", "C Value: c"))
		p.drive("shop")
		p.is("shop", UpdateComplete)
		p.exist("a", "b of a", "c")
		p.drop("shop")
		p.drive("shop")
		p.is(id, DeleteComplete)
		p.exist()
	})
}

// scenario is an operation on a stack and what is to come of it, wherever its process is killed.
type scenario struct {
	name   string
	before string // the template that the stack has already; empty: there is none
	fails  map[string]string
	begin  func(p *process)
	status Status
	exist  []string
}

var scenarios = []scenario{
	{
		name: "create",
		begin: func(p *process) {
			p.begin("shop", things("A Value: a", "B Value: b, Needs: [!Ref A]", "C Value: c, Needs: [!Ref B]", "D Value: d"))
		},
		status: CreateComplete, exist: []string{"a", "b", "c", "d"},
	},
	{
		name: "create that fails", fails: map[string]string{"create": "c"},
		begin: func(p *process) {
			p.begin("shop", things("A Value: a", "B Value: b, Needs: [!Ref A]", "C Value: c, Needs: [!Ref B]", "D Value: d"))
		},
		status: RollbackComplete,
	},
	{
		name: "update", before: things("A Value: a", "B Value: b, Needs: [!Ref A]", "C Value: c", "D Value: d"),
		begin: func(p *process) {
			p.change("shop", things("A Value: a, Fixed: new", "B Value: b2, Needs: [!Ref A]", "D Value: d2", "E Value: e, Needs: [!Ref D]"))
		},
		status: UpdateComplete, exist: []string{"a", "b2", "d2", "e"},
	},
	{
		name: "update that fails", before: things("A Value: a", "B Value: b, Needs: [!Ref A]", "C Value: c", "D Value: d"),
		fails: map[string]string{"create": "e"},
		begin: func(p *process) {
			p.change("shop", things("A Value: a2, Fixed: new", "B Value: b2, Needs: [!Ref A]", "D Value: d2", "E Value: e, Needs: [!Ref D]"))
		},
		status: UpdateRollbackComplete, exist: []string{"a", "b", "c", "d"},
	},
	{
		name: "update whose change in place fails", before: things("A Value: a, Size: 1", "B Value: b, Needs: [!Ref A]"),
		fails: map[string]string{"update": "b2"},
		begin: func(p *process) { p.change("shop", things("A Value: a2, Size: 2", "B Value: b2, Needs: [!Ref A]")) },

		status: UpdateRollbackComplete, exist: []string{"a", "b"},
	},
	{
		name: "update that a type will not make in place", before: things("A Value: a", "B Value: b, Needs: [!Ref A]"),
		begin: func(p *process) {
			p.change("shop", things("A Value: a2, Sometimes: never", "B Value: b, Needs: [!Ref A]"))
		},
		status: UpdateComplete, exist: []string{"a2", "b"},
	},
	{
		name: "delete", before: things("A Value: a", "B Value: b, Needs: [!Ref A]", "C Value: c, Needs: [!Ref B]"),
		begin:  func(p *process) { p.drop("shop") },
		status: DeleteComplete,
	},
	{
		name: "delete that fails", before: things("A Value: a", "B Value: b, Needs: [!Ref A]", "C Value: c"),
		fails:  map[string]string{"delete": "b"},
		begin:  func(p *process) { p.drop("shop") },
		status: DeleteFailed, exist: []string{"a", "b"},
	},
}

// start makes what a scenario begins with, in an empty account.
func (s scenario) start(p *process) (id string) {
	clear(p.cloud.things)
	clear(p.cloud.fails)
	if s.before != "" {
		id = p.begin("shop", s.before)
		p.drive(id)
		p.is(id, CreateComplete)
	}
	for action, v := range s.fails {
		p.cloud.fail(action, v)
	}
	s.begin(p)
	if id == "" {
		st, err := p.found(p.ctx, new("shop"))
		if err != nil {
			p.t.Fatal(err)
		}
		id = st.ARN()
	}
	return id
}

// end checks what came of a scenario, and that what is left goes with the stack.
func (s scenario) end(p *process, id string) {
	p.t.Helper()
	p.is(id, s.status)
	p.exist(s.exist...)
	if s.status == DeleteComplete {
		return
	}
	clear(p.cloud.fails)
	p.drop("shop")
	p.drive(id)
	p.is(id, DeleteComplete)
	p.exist()
}

func TestAnOperationThatIsKilledAtAnyStepIsTakenUp(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			p := newProcess(t, storetest.SQLite(t), newCloud())
			id := s.start(p)
			steps := p.killAt(0)
			p.drive(id)
			n := *steps
			p = p.again()
			s.end(p, id)
			if n < 4 {
				t.Fatalf("only %d steps", n)
			}
			for at := 1; at <= n; at++ {
				p = s.killed(p, at)
			}
		})
	}
}

// killed kills the processes of a scenario at a step, three times, and returns the one after them.
func (s scenario) killed(p *process, at int) *process {
	id := s.start(p)
	p.killAt(at)
	p.drive(id)
	for again := 0; ; again++ {
		p = p.again()
		if again < 3 {
			p.killAt(at)
		}
		if !p.drive(id) {
			break
		}
	}
	p = p.again()
	s.end(p, id)
	return p
}

func TestScenariosOnBothDatabases(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		p := newProcess(t, db, newCloud())
		for _, s := range scenarios {
			id := s.start(p)
			p.killAt(11)
			p.drive(id)
			p = p.again()
			p.drive(id)
			p = p.again()
			s.end(p, id)
		}
	})
}
