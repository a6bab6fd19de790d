package org.apache.flink.metrics.prometheus;

import io.prometheus.client.exporter.HTTPServer;
import java.io.IOException;
import java.net.BindException;
import java.net.InetSocketAddress;
import java.util.Iterator;
import java.util.Properties;
import org.apache.flink.metrics.MetricConfig;
import org.apache.flink.metrics.reporter.MetricReporter;
import org.apache.flink.metrics.reporter.MetricReporterFactory;
import org.apache.flink.util.NetUtils;

/**
 * Flink's own Prometheus reporter, bound to one address.
 *
 * <p>Flink's factory binds every address of the machine and has no option for another one. {@code host} is 127.0.0.1 by
 * default; {@code port} is a port or a range of ports, of which each process takes a free one. The class is in Flink's
 * package, because the registry of the reporter is visible there alone.
 */
public final class BoundPrometheusReporterFactory implements MetricReporterFactory {
    @Override
    public MetricReporter createMetricReporter(Properties properties) {
        MetricConfig config = (MetricConfig) properties;
        return new Reporter(config.getString("host", "127.0.0.1"), config.getString("port", "9249"));
    }

    private static final class Reporter extends AbstractPrometheusReporter {
        private final HTTPServer server;

        Reporter(String host, String ports) {
            this.server = bound(host, NetUtils.getPortRangeFromString(ports));
            log.info("Prometheus may scrape {}:{}", host, server.getPort());
        }

        private HTTPServer bound(String host, Iterator<Integer> ports) {
            while (ports.hasNext()) {
                int port = ports.next();
                try {
                    return new HTTPServer(new InetSocketAddress(host, port), registry);
                } catch (BindException error) {
                    log.debug("Port {} of {} is in use", port, host);
                } catch (IOException error) {
                    throw new IllegalStateException("Cannot listen at " + host + ":" + port, error);
                }
            }
            throw new IllegalStateException("No port of " + host + " is free: set metrics.reporter.prom.port");
        }

        @Override
        public void close() {
            server.stop();
            super.close();
        }
    }
}
