/// Statements by kind; INSERT, UPDATE, DELETE, COPY.
extension SQLWriter {
  package mutating func statement(_ statement: Syntax.Statement) {
    switch statement {
    case .query(let query): self.query(query)
    case .insert(let insert): self.insert(insert)
    case .update(let update): self.update(update)
    case .delete(let delete): self.delete(delete)
    case .copy(let copy): self.copy(copy)
    default: definition(statement)
    }
  }

  private mutating func insert(_ insert: Syntax.Insert) {
    if let with = insert.with { self.with(with) }
    word("INSERT INTO")
    name(insert.table)
    if let alias = insert.alias {
      word("AS")
      name(alias)
    }
    if !insert.columns.isEmpty { parenthesized(insert.columns) { $0.column($1) } }
    if let overriding = insert.overriding {
      word(overriding == .system ? "OVERRIDING SYSTEM VALUE" : "OVERRIDING USER VALUE")
    }
    switch insert.source {
    case .defaultValues: word("DEFAULT VALUES")
    case .query(let query): self.query(query)
    }
    if let conflict = insert.onConflict { onConflict(conflict) }
    returning(insert.returning)
  }

  private mutating func column(_ target: Syntax.ColumnTarget) {
    name(target.column)
    for step in target.path {
      switch step {
      case .field(let field): write("." + Self.quoted(field))
      case .subscripted(let each): self.subscript(each)
      }
    }
  }

  private mutating func onConflict(_ conflict: Syntax.OnConflict) {
    word("ON CONFLICT")
    switch conflict.target {
    case .columns(let elements, let condition):
      indexElements(elements)
      self.condition("WHERE", condition)
    case .constraint(let name):
      word("ON CONSTRAINT")
      self.name(name)
    case nil: break
    }
    switch conflict.action {
    case .nothing: word("DO NOTHING")
    case .update(let assignments, let condition):
      word("DO UPDATE SET ")
      self.assignments(assignments)
      self.condition("WHERE", condition)
    }
  }

  private mutating func assignments(_ assignments: [Syntax.Assignment]) {
    list(assignments) { writer, assignment in
      switch assignment {
      case .single(let target, let value):
        writer.column(target)
        writer.word("=")
        writer.expression(value)
      case .multiple(let targets, let value):
        writer.parenthesized(targets) { $0.column($1) }
        writer.word("=")
        writer.expression(value)
      }
    }
  }

  private mutating func returning(_ targets: [Syntax.Target]) {
    if targets.isEmpty { return }
    word("RETURNING")
    self.targets(targets)
  }

  private mutating func update(_ update: Syntax.Update) {
    if let with = update.with { self.with(with) }
    word("UPDATE")
    relation(update.table)
    if let alias = update.alias {
      word("AS")
      name(alias)
    }
    word("SET ")
    assignments(update.assignments)
    from("FROM", update.from)
    condition("WHERE", update.condition)
    returning(update.returning)
  }

  private mutating func delete(_ delete: Syntax.Delete) {
    if let with = delete.with { self.with(with) }
    word("DELETE FROM")
    relation(delete.table)
    if let alias = delete.alias {
      word("AS")
      name(alias)
    }
    from("USING", delete.using)
    condition("WHERE", delete.condition)
    returning(delete.returning)
  }

  private mutating func copy(_ copy: Syntax.Copy) {
    word("COPY")
    switch copy.source {
    case .table(let name, let columns):
      self.name(name)
      names(columns)
    case .statement(let statement):
      word("(")
      self.statement(statement)
      write(")")
    }
    word(copy.direction == .from ? "FROM" : "TO")
    switch copy.endpoint {
    case .client: word(copy.direction == .from ? "STDIN" : "STDOUT")
    case .file(let path): string(path)
    case .program(let command):
      word("PROGRAM")
      string(command)
    }
    if !copy.options.isEmpty {
      word("WITH")
      utilityOptions(copy.options, allowsReserved: true)
    }
    condition("WHERE", copy.condition)
  }
}
