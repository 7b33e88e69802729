// Drives a server with PostgreSQL's JDBC driver: java -cp postgresql.jar DriveJdbc.java jdbc:postgresql://host:port/db?user=…
// Against an empty database; PostgreSQL passes, too. Says nothing and ends with 0, or names what was wrong.
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.*;
import java.time.*;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.PGProperty;
import org.postgresql.copy.CopyManager;

public class DriveJdbc {
  static String url;

  static void check(Object found, Object wanted, String what) {
    if (!Objects.equals(found, wanted)) throw new AssertionError(what + ": " + found + " instead of " + wanted);
  }

  interface Body { void run() throws Exception; }

  static void fails(String state, Body body) throws Exception {
    try {
      body.run();
    } catch (SQLException error) {
      check(error.getSQLState(), state, "the state of: " + error.getMessage());
      return;
    }
    throw new AssertionError("nothing failed where " + state + " was expected");
  }

  static Connection open(String... more) throws SQLException {
    Properties properties = new Properties();
    for (int index = 0; index < more.length; index += 2) properties.setProperty(more[index], more[index + 1]);
    return DriverManager.getConnection(url, properties);
  }

  static List<List<Object>> rows(Connection c, String sql, Object... parameters) throws SQLException {
    try (PreparedStatement s = c.prepareStatement(sql)) {
      for (int index = 0; index < parameters.length; index++) s.setObject(index + 1, parameters[index]);
      List<List<Object>> all = new ArrayList<>();
      try (ResultSet r = s.executeQuery()) {
        int count = r.getMetaData().getColumnCount();
        while (r.next()) {
          List<Object> row = new ArrayList<>();
          for (int index = 1; index <= count; index++) row.add(r.getObject(index));
          all.add(row);
        }
      }
      return all;
    }
  }

  static void execute(Connection c, String sql) throws SQLException {
    try (Statement s = c.createStatement()) { s.execute(sql); }
  }

  // Each type to the server and back; after five executions the driver asks for binary values.
  static void types(Connection c) throws Exception {
    execute(c, "CREATE TABLE kinds (i2 smallint, i4 int, i8 bigint, f4 real, f8 float8, n numeric(20,6), b boolean, t text, "
        + "v varchar(20), d date, ts timestamp, tz timestamptz, u uuid, y bytea, a int[], j jsonb)");
    UUID uuid = UUID.fromString("7b1e4d2c-0f0a-4d7e-9a57-3f2f1c5c9a10");
    LocalDate day = LocalDate.of(2026, 11, 21);
    LocalDateTime time = LocalDateTime.of(2026, 11, 21, 8, 15, 30, 123456000);
    OffsetDateTime zoned = time.atOffset(ZoneOffset.UTC);
    byte[] bytes = {0, 1, (byte) 0xff, 39, 92};
    for (int round = 0; round < 8; round++) {
      try (PreparedStatement s = c.prepareStatement(
          "INSERT INTO kinds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?::jsonb)")) {
        s.setShort(1, (short) -7);
        s.setInt(2, Integer.MIN_VALUE);
        s.setLong(3, Long.MAX_VALUE);
        s.setFloat(4, 1.5f);
        s.setDouble(5, Math.PI);
        s.setBigDecimal(6, new BigDecimal("12345678901234.567890"));
        s.setBoolean(7, true);
        s.setString(8, "Größe 'x' \\ \ud83d\ude00");
        s.setString(9, "varying");
        s.setObject(10, day);
        s.setObject(11, time);
        s.setObject(12, zoned);
        s.setObject(13, uuid);
        s.setBytes(14, bytes);
        s.setArray(15, c.createArrayOf("int4", new Integer[] {1, null, 3}));
        s.setString(16, "{\"a\": [1, 2]}");
        check(s.executeUpdate(), 1, "rows inserted");
      }
    }
    try (PreparedStatement s = c.prepareStatement("SELECT * FROM kinds WHERE i4 = ?")) {
      for (int round = 0; round < 8; round++) {
        s.setInt(1, Integer.MIN_VALUE);
        try (ResultSet r = s.executeQuery()) {
          int count = 0;
          while (r.next()) {
            count++;
            check(r.getShort("i2"), (short) -7, "smallint");
            check(r.getInt("i4"), Integer.MIN_VALUE, "int");
            check(r.getLong("i8"), Long.MAX_VALUE, "bigint");
            check(r.getFloat("f4"), 1.5f, "real");
            check(r.getDouble("f8"), Math.PI, "float8");
            check(r.getBigDecimal("n"), new BigDecimal("12345678901234.567890"), "numeric");
            check(r.getBoolean("b"), true, "boolean");
            check(r.getString("t"), "Größe 'x' \\ \ud83d\ude00", "text");
            check(r.getObject("d", LocalDate.class), day, "date");
            check(r.getObject("ts", LocalDateTime.class), time, "timestamp");
            check(r.getObject("tz", OffsetDateTime.class).toInstant(), zoned.toInstant(), "timestamptz");
            check(r.getObject("u"), uuid, "uuid");
            check(Arrays.equals(r.getBytes("y"), bytes), true, "bytea");
            check(Arrays.asList((Integer[]) r.getArray("a").getArray()), Arrays.asList(1, null, 3), "int[]");
            check(r.getString("j"), "{\"a\": [1, 2]}", "jsonb");
          }
          check(count, 8, "rows read");
        }
      }
    }
    try (PreparedStatement s = c.prepareStatement("SELECT ?::int IS NULL, ?::text")) {
      s.setNull(1, Types.INTEGER);
      s.setString(2, null);
      ResultSet r = s.executeQuery();
      r.next();
      check(r.getBoolean(1), true, "null of int");
      check(r.getString(2), null, "null of text");
      check(r.wasNull(), true, "wasNull");
    }
  }

  static void batches(Connection c) throws Exception {
    execute(c, "CREATE TABLE items (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, price numeric(8,2))");
    try (PreparedStatement s = c.prepareStatement(
        "INSERT INTO items (name, price) VALUES (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
      for (int index = 0; index < 500; index++) {
        s.setString(1, "item " + index);
        s.setBigDecimal(2, new BigDecimal(index).movePointLeft(2));
        s.addBatch();
      }
      check(s.executeBatch().length, 500, "a batch's counts");
      ResultSet keys = s.getGeneratedKeys();
      int count = 0;
      while (keys.next()) count++;
      check(count, 500, "generated keys");
    }
    try (PreparedStatement s = c.prepareStatement("UPDATE items SET price = price + 1 WHERE id <= ?")) {
      s.setLong(1, 100);
      check(s.executeLargeUpdate(), 100L, "rows updated");
    }
    // One that fails in the middle of a batch.
    try (PreparedStatement s = c.prepareStatement("INSERT INTO items (name) VALUES (?)")) {
      s.setString(1, "fine");
      s.addBatch();
      s.setString(1, null);
      s.addBatch();
      s.executeBatch();
      throw new AssertionError("a batch with a null went through");
    } catch (BatchUpdateException error) {
      check(error.getSQLState(), "23502", "not null in a batch");
    }
    try (Statement s = c.createStatement()) {
      check(s.execute("SELECT 1; UPDATE items SET price = 0 WHERE id = 1; SELECT 'last'"), true, "several statements");
      check(s.getMoreResults(), false, "the second is a count");
      check(s.getUpdateCount(), 1, "its count");
      check(s.getMoreResults(), true, "the third is rows");
    }
  }

  static void transactions() throws Exception {
    try (Connection c = open(); Connection other = open()) {
      c.setAutoCommit(false);
      for (int level : new int[] {
          Connection.TRANSACTION_READ_COMMITTED, Connection.TRANSACTION_REPEATABLE_READ, Connection.TRANSACTION_SERIALIZABLE}) {
        c.setTransactionIsolation(level);
        check(c.getTransactionIsolation(), level, "isolation");
        c.rollback();
      }
      execute(c, "INSERT INTO items (name) VALUES ('undone')");
      Savepoint savepoint = c.setSavepoint("here");
      fails("23505", () -> execute(c, "INSERT INTO items (id, name) OVERRIDING SYSTEM VALUE VALUES (1, 'twice')"));
      fails("25P02", () -> rows(c, "SELECT 1"));
      c.rollback(savepoint);
      check(rows(c, "SELECT count(*) FROM items WHERE name = 'undone'").get(0).get(0), 1L, "after the savepoint");
      c.releaseSavepoint(savepoint);
      check(rows(other, "SELECT count(*) FROM items WHERE name = 'undone'").get(0).get(0), 0L, "not seen elsewhere");
      c.rollback();
      c.setReadOnly(true);
      fails("25006", () -> execute(c, "DELETE FROM items"));
      c.rollback();
      c.setReadOnly(false);
      // First updater wins.
      c.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
      rows(c, "SELECT * FROM items WHERE id = 2");
      execute(other, "UPDATE items SET price = 7 WHERE id = 2");
      fails("40001", () -> execute(c, "UPDATE items SET price = 8 WHERE id = 2"));
      c.rollback();
    }
  }

  // setFetchSize uses a portal and takes its rows in parts.
  static void cursors() throws Exception {
    try (Connection c = open()) {
      c.setAutoCommit(false);
      try (PreparedStatement s = c.prepareStatement("SELECT g, 'row ' || g FROM generate_series(1, ?) g")) {
        s.setFetchSize(37);
        s.setInt(1, 1000);
        long sum = 0;
        ResultSet r = s.executeQuery();
        while (r.next()) sum += r.getInt(1);
        check(sum, 500500L, "rows in parts");
      }
      try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
        ResultSet r = s.executeQuery("SELECT id, name FROM items WHERE id = 3");
        check(r.next(), true, "the row to change");
        r.updateString("name", "changed in place");
        r.updateRow();
      }
      check(rows(c, "SELECT name FROM items WHERE id = 3").get(0).get(0), "changed in place", "an updatable result");
      c.commit();
    }
  }

  static void metadata(Connection c) throws Exception {
    DatabaseMetaData m = c.getMetaData();
    check(m.getDatabaseProductName(), "PostgreSQL", "the product");
    execute(c, "CREATE TABLE lines (item bigint REFERENCES items ON DELETE CASCADE, line int, note varchar(30) DEFAULT 'none', "
        + "PRIMARY KEY (item, line))");
    execute(c, "CREATE INDEX lines_note ON lines (note)");
    execute(c, "CREATE VIEW line_notes AS SELECT note FROM lines");
    Set<String> tables = new TreeSet<>();
    ResultSet r = m.getTables(null, "public", "%", new String[] {"TABLE", "VIEW"});
    while (r.next()) tables.add(r.getString("TABLE_NAME") + " " + r.getString("TABLE_TYPE"));
    for (String name : new String[] {"items TABLE", "kinds TABLE", "line_notes VIEW", "lines TABLE"}) check(tables.contains(name), true, name);
    List<String> columns = new ArrayList<>();
    r = m.getColumns(null, "public", "lines", null);
    while (r.next())
      columns.add(r.getString("COLUMN_NAME") + " " + r.getString("TYPE_NAME") + " " + r.getInt("COLUMN_SIZE") + " " + r.getString("IS_NULLABLE"));
    check(columns, List.of("item int8 19 NO", "line int4 10 NO", "note varchar 30 YES"), "columns");
    List<String> keys = new ArrayList<>();
    r = m.getPrimaryKeys(null, "public", "lines");
    while (r.next()) keys.add(r.getString("COLUMN_NAME"));
    Collections.sort(keys);
    check(keys, List.of("item", "line"), "the primary key");
    r = m.getImportedKeys(null, "public", "lines");
    check(r.next(), true, "a foreign key");
    check(r.getString("PKTABLE_NAME") + "." + r.getString("PKCOLUMN_NAME"), "items.id", "what it refers to");
    check(r.getShort("DELETE_RULE"), (short) DatabaseMetaData.importedKeyCascade, "on delete");
    Set<String> indexes = new TreeSet<>();
    r = m.getIndexInfo(null, "public", "lines", false, true);
    while (r.next()) indexes.add(r.getString("INDEX_NAME"));
    check(indexes, Set.of("lines_note", "lines_pkey"), "indexes");
    r = m.getSchemas();
    Set<String> schemas = new TreeSet<>();
    while (r.next()) schemas.add(r.getString(1));
    check(schemas.contains("public"), true, "schemas");
    check(m.getTypeInfo().next(), true, "types");
    try (PreparedStatement s = c.prepareStatement("SELECT id, name, price FROM items WHERE id = ?")) {
      check(s.getParameterMetaData().getParameterTypeName(1), "int8", "a parameter's type");
      ResultSetMetaData columnsOf = s.getMetaData();
      check(columnsOf.getColumnTypeName(3), "numeric", "a column's type");
      check(columnsOf.getPrecision(3), 8, "its precision");
      check(columnsOf.isAutoIncrement(1), true, "an identity column");
      check(columnsOf.isNullable(2), ResultSetMetaData.columnNoNulls, "not null");
    }
  }

  static void copies(Connection c) throws Exception {
    execute(c, "CREATE TABLE copied (a int, b text)");
    CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
    StringBuilder text = new StringBuilder();
    for (int index = 0; index < 10000; index++) text.append(index).append(",\"text, ").append(index).append("\"\n");
    check(copy.copyIn("COPY copied FROM STDIN (FORMAT csv)", new StringReader(text.toString())), 10000L, "rows copied in");
    StringWriter out = new StringWriter();
    check(copy.copyOut("COPY (SELECT * FROM copied ORDER BY a) TO STDOUT (FORMAT csv)", out), 10000L, "rows copied out");
    check(out.toString(), text.toString(), "what was copied");
    fails("22P02", () -> copy.copyIn("COPY copied FROM STDIN", new StringReader("x\ty\n")));
    check(rows(c, "SELECT count(*) FROM copied").get(0).get(0), 10000L, "after a copy that failed");
  }

  static void endings() throws Exception {
    try (Connection c = open(); Statement s = c.createStatement()) {
      s.setQueryTimeout(1);
      fails("57014", () -> s.execute("SELECT pg_sleep(20)"));
      check(rows(c, "SELECT 1").get(0).get(0), 1, "after a timeout");
      Thread canceller = new Thread(() -> {
        try {
          // The statement may not have begun yet: cancelled until it is over.
          while (!Thread.currentThread().isInterrupted()) { s.cancel(); Thread.sleep(20); }
        } catch (SQLException | InterruptedException ignored) { }
      });
      s.setQueryTimeout(0);
      canceller.start();
      fails("57014", () -> s.execute("SELECT pg_sleep(20)"));
      canceller.interrupt();
      canceller.join();
      check(c.isValid(5), true, "a connection that was cancelled");
    }
    for (String mode : new String[] {"simple", "extended", "extendedForPrepared", "extendedCacheEverything"}) {
      try (Connection c = open(PGProperty.PREFER_QUERY_MODE.getName(), mode)) {
        for (int round = 0; round < 7; round++)
          check(rows(c, "SELECT ?::int + 1, ?::text", 41, "a'b").get(0), List.of(42, "a'b"), "query mode " + mode);
      }
    }
    // A table changes below a prepared statement.
    try (Connection c = open()) {
      execute(c, "CREATE TABLE changing (a int)");
      execute(c, "INSERT INTO changing VALUES (1)");
      try (PreparedStatement s = c.prepareStatement("SELECT * FROM changing")) {
        for (int round = 0; round < 7; round++) s.executeQuery().close();
        execute(c, "ALTER TABLE changing ADD COLUMN b text DEFAULT 'new'");
        ResultSet r = s.executeQuery();
        r.next();
        check(r.getMetaData().getColumnCount(), 2, "columns after a change");
      }
      SQLWarning warning;
      try (Statement s = c.createStatement()) {
        s.execute("DROP TABLE IF EXISTS never_there");
        warning = s.getWarnings();
      }
      check(warning != null && warning.getMessage().contains("never_there"), true, "a notice");
    }
  }

  public static void main(String[] arguments) throws Exception {
    url = arguments[0];
    try (Connection c = open()) {
      types(c);
      batches(c);
      transactions();
      cursors();
      metadata(c);
      copies(c);
      endings();
    }
  }
}
