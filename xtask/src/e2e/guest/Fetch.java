import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.cert.X509Certificate;

/** Java's HttpClient, with default settings. usage: java Fetch.java URL */
class Fetch {
    public static void main(String[] arguments) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(arguments[0])).build();
        var response = HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
        var certificate = (X509Certificate) response.sslSession().get().getPeerCertificates()[0];
        System.out.println("issuer " + certificate.getIssuerX500Principal());
        System.out.println(response.version() + " " + response.statusCode() + " " + response.body());
    }
}
