from client import KVClient
import json

with KVClient() as client:
    # Store session data
    session_data = {
        'user_id': 1234,
        'login_time': '2024-01-01T10:00:00',
        'expires': '2024-01-01T12:00:00'
    }
    client.put('session:abc123', json.dumps(session_data))
    
    # Retrieve session
    data = json.loads(client.get('session:abc123'))
    print(data['user_id'])  # 1234
