// A pool of one connection by PostgreSQL's JDBC driver, to the local port that it is told: runs each query that it is told, and
// says its value. Like HikariCP it asks a connection whether it is valid before it gives it out.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;

class JdbcPool {
  private static Connection pooled;

  public static void main(String[] arguments) throws Exception {
    String url = "jdbc:postgresql://127.0.0.1:" + arguments[0] + "/postgres?user=app&sslmode=disable&socketTimeout=15";
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      System.out.println(answer(url, line));
    }
  }

  private static String answer(String url, String query) {
    try {
      if (pooled == null || !pooled.isValid(5)) {
        pooled = DriverManager.getConnection(url);
      }
      ResultSet rows = pooled.createStatement().executeQuery(query);
      rows.next();
      return rows.getString(1);
    } catch (SQLException error) {
      pooled = null;
      return "failed: " + error.getMessage().replaceAll("\\s+", " ");
    }
  }
}
