import org.codelibs.opensearch.runner.OpenSearchRunner;

/** A node that listens on the port it is given, with its data in the folder it is given. */
public class Launcher {
    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[0]);
        OpenSearchRunner node = new OpenSearchRunner() {
            @Override
            protected int getAvailableHttpPort(int number) {
                return port;
            }
        };
        node.onBuild((number, settings) -> {
            settings.put("network.host", "127.0.0.1");
            settings.put("discovery.type", "single-node");
            settings.putList("node.roles", "cluster_manager", "data", "ingest");
            settings.put("cluster.routing.allocation.disk.threshold_enabled", false);
        });
        node.build(OpenSearchRunner.newConfigs().basePath(arguments[1]).numOfNode(1));
        Thread.currentThread().join();
    }
}
