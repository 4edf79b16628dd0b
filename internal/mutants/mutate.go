package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"regexp"
	"slices"
	"strings"
)

// mutant is one change to the code that a test should notice.
type mutant struct {
	pos      token.Position
	function string // in which it is
	what     string // "a < b -> a <= b"
}

// name tells a mutant from others, and stays the same when lines are added elsewhere.
func (m *mutant) name() string { return fmt.Sprintf("%s %s: %s", m.pos.Filename, m.function, m.what) }

// mutator rewrites one file so that it has all its mutants in it, each behind a question: mutantIs(7). They are compiled
// once, and chosen when the test runs.
type mutator struct {
	fset     *token.FileSet
	file     *ast.File
	src      []byte
	info     *types.Info
	pkg      *types.Package
	mutants  *[]mutant
	leaves   map[ast.Expr]bool // conditions that are no comparisons
	stmts    map[ast.Stmt]bool // those that stand in a list
	function *ast.FuncDecl
}

// rewrite gives the file with its mutants.
func (m *mutator) rewrite() string {
	m.leaves, m.stmts = map[ast.Expr]bool{}, map[ast.Stmt]bool{}
	ast.Inspect(m.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			m.leaf(n.Cond)
		case *ast.ForStmt:
			m.leaf(n.Cond)
		case *ast.BinaryExpr:
			if n.Op == token.LAND || n.Op == token.LOR {
				m.leaf(n.X)
				m.leaf(n.Y)
			}
		case *ast.ReturnStmt:
			for _, r := range n.Results {
				m.leaf(r)
			}
		case *ast.BlockStmt:
			m.list(n.List)
		case *ast.CaseClause:
			m.list(n.Body)
		case *ast.CommClause:
			m.list(n.Body)
		}
		return true
	})
	var out strings.Builder
	at := m.file.FileStart
	for _, d := range m.file.Decls {
		m.function, _ = d.(*ast.FuncDecl)
		out.Write(m.between(at, d.Pos()))
		out.WriteString(m.inside(d))
		at = d.End()
	}
	out.Write(m.between(at, m.file.FileEnd))
	return out.String()
}

func (m *mutator) leaf(e ast.Expr) {
	if e == nil {
		return
	}
	e = ast.Unparen(e)
	if b, ok := e.(*ast.BinaryExpr); ok && b.Op != token.ARROW && m.isBool(b) {
		return // it has mutants of its own
	}
	if m.isBool(e) {
		m.leaves[e] = true
	}
}

func (m *mutator) list(stmts []ast.Stmt) {
	for _, s := range stmts {
		m.stmts[s] = true
	}
}

func (m *mutator) isBool(e ast.Expr) bool {
	t := m.info.TypeOf(e)
	return t != nil && (t == types.Typ[types.Bool] || t == types.Typ[types.UntypedBool])
}

func (m *mutator) between(from, to token.Pos) []byte {
	return m.src[m.fset.Position(from).Offset:m.fset.Position(to).Offset]
}

func (m *mutator) text(n ast.Node) string { return string(m.between(n.Pos(), n.End())) }

// add notes a mutant and gives the question whether it is the chosen one.
func (m *mutator) add(n ast.Node, becomes string) string {
	name := "-"
	if m.function != nil {
		name = m.function.Name.Name
		if r := m.function.Recv; r != nil {
			name = strings.TrimLeft(types.ExprString(r.List[0].Type), "*") + "." + name
		}
	}
	what := strings.Join(strings.Fields(m.text(n)), " ") + " -> " + becomes
	*m.mutants = append(*m.mutants, mutant{m.fset.Position(n.Pos()), name, what})
	return fmt.Sprintf("mutantIs(%d)", len(*m.mutants))
}

// render is a node with its mutants and those of all that is in it.
func (m *mutator) render(n ast.Node) string {
	if s, ok := n.(ast.Stmt); ok && m.stmts[s] {
		return m.stmt(s)
	}
	if e, ok := n.(ast.Expr); ok {
		if m.leaves[e] {
			q := m.add(e, "not that")
			return fmt.Sprintf("(%s != (%s))", q, m.inside(e))
		}
		if b, ok := e.(*ast.BinaryExpr); ok && m.info.Types[e].Value == nil {
			return m.binary(b)
		}
	}
	return m.inside(n)
}

// inside is a node with the mutants of what is in it.
func (m *mutator) inside(n ast.Node) string {
	var out strings.Builder
	at := n.Pos()
	ast.Inspect(n, func(c ast.Node) bool {
		if c == nil || c == n {
			return true
		}
		s, isStmt := c.(ast.Stmt)
		e, isExpr := c.(ast.Expr)
		_, isBinary := c.(*ast.BinaryExpr)
		if isStmt && m.stmts[s] || isExpr && (m.leaves[e] || isBinary) {
			out.Write(m.between(at, c.Pos()))
			out.WriteString(m.render(c))
			at = c.End()
			return false
		}
		return true
	})
	out.Write(m.between(at, n.End()))
	return out.String()
}

// others are the operators that stand for the first in its mutants.
var others = map[token.Token]token.Token{
	token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR,
	token.LAND: token.LOR, token.LOR: token.LAND,
	token.ADD: token.SUB, token.SUB: token.ADD, token.MUL: token.QUO, token.QUO: token.MUL, token.REM: token.MUL,
	token.AND: token.OR, token.OR: token.AND,
	token.ADD_ASSIGN: token.SUB_ASSIGN, token.SUB_ASSIGN: token.ADD_ASSIGN,
	token.MUL_ASSIGN: token.QUO_ASSIGN, token.QUO_ASSIGN: token.MUL_ASSIGN,
	token.INC: token.DEC, token.DEC: token.INC,
}

func (m *mutator) binary(b *ast.BinaryExpr) string {
	x, y := m.render(b.X), m.render(b.Y)
	code := fmt.Sprintf("%s %s %s", x, b.Op, y)
	if other, ok := others[b.Op]; ok && !m.isString(b) {
		if t, ok := m.typeName(b); ok {
			q := m.add(b, fmt.Sprintf("%s %s %s", m.text(b.X), other, m.text(b.Y)))
			code = fmt.Sprintf("func() %s { if %s { return %s %s %s }; return %s }()", t, q, x, other, y, code)
		}
	}
	switch b.Op {
	case token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ:
		return fmt.Sprintf("(%s != (%s))", m.add(b, "not that"), code)
	}
	return "(" + code + ")"
}

func (m *mutator) isString(e ast.Expr) bool {
	t, ok := m.info.TypeOf(e).Underlying().(*types.Basic)
	return ok && t.Info()&types.IsString != 0
}

// typeName is how the type of an expression is written in this file, if it can be.
func (m *mutator) typeName(e ast.Expr) (name string, ok bool) {
	ok = true
	name = types.TypeString(types.Default(m.info.TypeOf(e)), func(p *types.Package) string {
		if p == m.pkg {
			return ""
		}
		ok = ok && slices.ContainsFunc(m.file.Imports, func(i *ast.ImportSpec) bool {
			return i.Name == nil && strings.Trim(i.Path.Value, `"`) == p.Path()
		})
		return p.Name()
	})
	return name, ok
}

// untouched are the calls that are never left out. Behind a panic a return may be missing, and a mutex that is not unlocked
// stops any test.
var untouched = regexp.MustCompile(`^panic$|\.(RL|RUnl|L|Unl)ock$`)

// stmt is a statement that is left out, or does the opposite, in its mutants.
func (m *mutator) stmt(s ast.Stmt) string {
	switch s := s.(type) {
	case *ast.ExprStmt:
		if call, ok := s.X.(*ast.CallExpr); !ok || !untouched.MatchString(types.ExprString(call.Fun)) {
			return m.without(s)
		}
	case *ast.DeferStmt:
		if !untouched.MatchString(types.ExprString(s.Call.Fun)) {
			return m.without(s)
		}
	case *ast.SendStmt:
		return m.without(s)
	case *ast.IncDecStmt:
		return m.instead(s, m.text(s.X)+others[s.Tok].String())
	case *ast.AssignStmt:
		switch {
		case s.Tok == token.DEFINE:
		case s.Tok != token.ASSIGN && others[s.Tok] != 0 && !m.isString(s.Lhs[0]):
			return m.instead(s, m.text(s.Lhs[0])+" "+others[s.Tok].String()+" "+m.text(s.Rhs[0]))
		default:
			return m.without(s)
		}
	case *ast.BranchStmt:
		if s.Tok == token.BREAK || s.Tok == token.CONTINUE {
			return m.without(s)
		}
	case *ast.ReturnStmt:
		return m.silent(s)
	}
	return m.inside(s)
}

func (m *mutator) without(s ast.Stmt) string {
	return fmt.Sprintf("if !%s { %s }", m.add(s, "nothing"), m.inside(s))
}

func (m *mutator) instead(s ast.Stmt, opposite string) string {
	return fmt.Sprintf("if %s { %s } else { %s }", m.add(s, opposite), opposite, m.inside(s))
}

// silent is a return of an error, and in its mutant of none.
func (m *mutator) silent(s *ast.ReturnStmt) string {
	code := m.inside(s)
	if len(s.Results) == 0 {
		return code
	}
	last := s.Results[len(s.Results)-1]
	tv := m.info.Types[last]
	if tv.IsNil() || !types.Identical(tv.Type, types.Universe.Lookup("error").Type()) {
		return code
	}
	q := m.add(s, "no error")
	var results []string
	for _, r := range s.Results[:len(s.Results)-1] {
		results = append(results, m.text(r))
	}
	return fmt.Sprintf("if %s { return %s }; %s", q, strings.Join(append(results, "nil"), ", "), code)
}
